#!/usr/bin/env bash
# The real kubectl, in every version that this machine has, against a real master: each verb
# that people use, told as a matrix of versions and verbs. A cell that fails shows what was
# run and what came of it, and fails the test.
#
# KEELSON_KUBECTLS: further kubectl programs. KEELSON_BIN: where keelson-master is.
# KEELSON_ONLY: a version (1.30) or a verb, to run no other.
set -uo pipefail
cd "$(dirname "$0")/../.."
binaries=${KEELSON_BIN:-$PWD/build/bin}

if [[ ${1:-} != inside ]]; then
  if [[ -z ${KEELSON_BIN:-} ]]; then
    log=$(mktemp)
    { cmake --preset release && cmake --build --preset release --target keelson-master; } >"$log" 2>&1 ||
      { cat "$log"; exit 1; }
    rm -f "$log"
  fi
  # A network of its own: nothing is reached but this master.
  exec unshare --net "$PWD/test/integration/kubectl.sh" inside
fi

ip link set lo up
ip link add eth0 type veth peer name outside0
ip address add 192.0.2.10/24 dev eth0
ip link set eth0 up
ip link set outside0 up

work=$(mktemp -d "${TMPDIR:-/tmp}/keelson-kubectl-XXXXXX")
master=
finish() {
  [[ -n $master ]] && kill "$master" 2>/dev/null && wait "$master" 2>/dev/null
  rm -rf --one-file-system "$work"
}
trap finish EXIT

"$binaries/keelson-master" --data-dir "$work/data" --config '' --listen 192.0.2.10:6443 \
  2>"$work/master.log" &
master=$!
config=$work/data/admin.kubeconfig
for ((i = 0; i < 200; i++)); do
  [[ $(curl -sk --max-time 2 https://192.0.2.10:6443/readyz) == ok ]] && break
  kill -0 "$master" 2>/dev/null || { cat "$work/master.log"; exit 1; }
  sleep 0.05
done
[[ $(curl -sk --max-time 2 https://192.0.2.10:6443/readyz) == ok ]] || { cat "$work/master.log"; exit 1; }

# As a component would, past kubectl (which before 1.24 cannot patch a status).
cert() { sed -n "s/^ *$1: //p" "$config" | base64 -d; }
cert client-certificate-data >"$work/admin.crt"
cert client-key-data >"$work/admin.key"
api() { # METHOD PATH [BODY]
  curl -sS --fail --max-time 10 --cacert "$work/data/pki/ca.crt" --cert "$work/admin.crt" --key "$work/admin.key" \
    -X "$1" -H 'Content-Type: application/strategic-merge-patch+json' ${3:+--data "$3"} "https://192.0.2.10:6443$2"
}

# --- which kubectls, oldest first, each version once
declare -A program_of
for candidate in ${KEELSON_KUBECTLS:-} /usr/bin/kubectl /usr/lib/google-cloud-sdk/bin/kubectl.1.* \
  /usr/local/lib/keelson-test/kubernetes-client/usr/bin/kubectl; do
  [[ -x $candidate ]] || continue
  version=$("$candidate" version --client -o json 2>/dev/null |
    sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\)\..*/\1/p' | head -n 1)
  [[ -n $version && -z ${program_of[$version]:-} ]] && program_of[$version]=$candidate
done
mapfile -t versions < <(printf '%s\n' "${!program_of[@]}" | sort -V)
((${#versions[@]})) || { echo "SKIP: no kubectl on this machine"; exit 77; }

# --- the tools of a check
at_least() { [[ $(printf '%s\n%s\n' "$1" "$version" | sort -V | head -n 1) == "$1" ]]; }
k() { "$kubectl" --kubeconfig "$config" --namespace "$ns" --cache-dir "$work/cache-$version" "$@"; }
k_exec() { exec "$kubectl" --kubeconfig "$config" --namespace "$ns" --cache-dir "$work/cache-$version" "$@"; } # for &
# The output has the text (a fixed string); the command succeeds.
has() { # TEXT COMMAND…
  local text=$1 output
  shift
  output=$("$@" 2>&1) || { echo "failed: $*"; echo "$output"; return 1; }
  grep -qF -- "$text" <<<"$output" || { echo "no \"$text\" in the output of: $*"; echo "$output"; return 1; }
}
hasnt() { # TEXT COMMAND…
  local text=$1 output
  shift
  output=$("$@" 2>&1) || { echo "failed: $*"; echo "$output"; return 1; }
  ! grep -qF -- "$text" <<<"$output" || { echo "\"$text\" in the output of: $*"; echo "$output"; return 1; }
}
# The command fails, and says so.
refused() { # TEXT COMMAND…
  local text=$1 output
  shift
  output=$("$@" 2>&1) && { echo "not refused: $*"; echo "$output"; return 1; }
  grep -qF -- "$text" <<<"$output" || { echo "no \"$text\" in the refusal of: $*"; echo "$output"; return 1; }
}
value() { # EXPECTED OBJECT JSONPATH
  local found
  found=$(k get "$2" -o "jsonpath=$3" 2>&1)
  [[ $found == "$1" ]] || { echo "$2 $3 is \"$found\", not \"$1\""; return 1; }
}
eventually() { # COMMAND…
  local i
  for ((i = 0; i < 200; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
  "$@"
}

web() { # NAME [NODE]: a Pod
  cat <<END
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1, tier: front}}
spec:
  ${2:+nodeName: $2}
  containers:
  - {name: main, image: "example.test/web:1", ports: [{containerPort: 80}]}
END
}
controller() { # NAME REPLICAS
  cat <<END
apiVersion: v1
kind: ReplicationController
metadata: {name: $1}
spec:
  replicas: $2
  selector: {app: $1}
  template:
    metadata: {labels: {app: $1}}
    spec: {containers: [{name: main, image: "example.test/web:1", ports: [{containerPort: 80}]}]}
END
}
settings() { # NAME KEY=VALUE…: a ConfigMap
  local pair
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata:\n' "$1"
  for pair in "${@:2}"; do printf '  %s: "%s"\n' "${pair%%=*}" "${pair#*=}"; done
}

# --- the checks, one for each verb; each makes what it needs
check_version() {
  has 'GitVersion:"v1.' k version || has 'Server Version: v1.' k version || return
  has '"serverVersion"' k version -o json && has 'keelson' k version -o json
}
check_cluster_info() { has 'https://192.0.2.10:6443' k cluster-info; }
check_api_resources() {
  has 'replicationcontrollers' k api-resources && has 'endpointslices' k api-resources --api-group discovery.k8s.io &&
    has 'po ' k api-resources && has 'deletecollection' k api-resources -o wide --namespaced=true &&
    has 'coordination.k8s.io/v1' k api-versions
}
check_explain() {
  has 'containers' k explain pod.spec && has 'readinessProbe' k explain pod --recursive &&
    has 'externalTrafficPolicy' k explain service.spec && refused 'does not exist' k explain pod.spec.nonsense
}
check_create() {
  web created | has 'pod/created created' k create -f - || return
  web created | refused 'AlreadyExists' k create -f - || return
  has 'created' k create configmap literal --from-literal=a=1 --from-literal=b=2 || return
  has 'created' k create secret generic hidden --from-literal=key=word || return
  has 'created' k create serviceaccount robot || return
  has 'created' k create service clusterip plain --tcp=80:8080 || return
  has 'created' k create namespace "$ns-more" && has 'deleted' k delete namespace "$ns-more" --wait=false || return
  value word 'secret/hidden' '{.data.key}' >/dev/null && return 1 # it is base64
  value d29yZA== secret/hidden '{.data.key}' || return
  has 'dry run' k create configmap not-there --from-literal=a=1 --dry-run=server || return
  refused 'NotFound' k get configmap not-there || return
  # A field that does not exist is refused by whoever validates, client or server.
  web mistaken | sed 's/nodeName/nodeNmae/; s/  containers:/  contaniers: []\n  containers:/' |
    refused 'contaniers' k create -f -
}
check_apply() {
  settings applied a=1 b=2 | has 'created' k apply -f - || return
  settings applied a=1 b=2 | has 'unchanged' k apply -f - || return
  settings applied a=3 | has 'configured' k apply -f - || return
  value 3 configmap/applied '{.data.a}' && value '' configmap/applied '{.data.b}' || return
  controller applied 2 | has 'created' k apply -f - || return
  controller applied 2 | sed 's/web:1/web:2/' | has 'configured' k apply -f - || return
  value example.test/web:2 rc/applied '{.spec.template.spec.containers[0].image}' || return
  # Not of the controller's labels, which would adopt it.
  web applied-pod | k apply -f - >/dev/null && web applied-pod | has 'unchanged' k apply -f - || return
  web applied-pod | sed 's/tier: front/tier: back/' | has 'configured' k apply -f - || return
  has '"a":"3"' k apply view-last-applied configmap/applied -o json 2>/dev/null ||
    has 'a: "3"' k apply view-last-applied configmap/applied
}
check_get() {
  web got | k create -f - >/dev/null || return
  controller got 1 | k create -f - >/dev/null || return
  has 'STATUS' k get pods && has 'Pending' k get pod got && has 'NOMINATED NODE' k get pods -o wide || return
  has 'pod/got' k get pods -o name && has '"kind": "Pod"' k get pod got -o json && has 'kind: Pod' k get pod got -o yaml ||
    return
  has 'got' k get pods -o custom-columns=NAME:.metadata.name,APP:.metadata.labels.app || return
  has 'got' k get pod got -o go-template='{{.metadata.name}}' || return
  value got pod/got '{.metadata.labels.app}' || return
  has 'app=got' k get pods --show-labels && has 'TIER' k get pods -L tier || return
  has 'got' k get pods -l 'app in (got,other),tier' && hasnt 'got' k get pods -l app!=got || return
  has 'got' k get pods --field-selector status.phase=Pending,metadata.name=got || return
  hasnt 'got' k get pods --field-selector spec.nodeName=nowhere || return
  has 'DESIRED' k get rc && has 'pod/got' k get all && has 'got' k get pods -A && has 'service/kubernetes' k get svc,rc -A ||
    return
  has 'kubernetes' k get endpoints,endpointslices -n default && has 'Active' k get namespaces || return
  refused 'NotFound' k get pod none && refused "doesn't have a resource type" k get nonsense || return
  has 'No resources found' k get leases || return
  has 'got' k get pods --chunk-size=1
}
check_sort() {
  web sort-b | k create -f - >/dev/null && web sort-a | k create -f - >/dev/null || return
  [[ $(k get pods --sort-by=.metadata.name -l 'app in (sort-a,sort-b)' -o name | tr '\n' ' ') == 'pod/sort-a pod/sort-b ' ]] ||
    { echo "wrong order"; return 1; }
  [[ $(k get pods --sort-by=.metadata.creationTimestamp -l 'app in (sort-a,sort-b)' | awk 'NR > 1 { print $1 }' | wc -l) == 2 ]]
}
check_watch() {
  local plain=$work/watch-$version events=$work/watch-events-$version status=0 watcher second
  k_exec get pods -w -l app=watched >"$plain" 2>&1 &
  watcher=$!
  web watched | k create -f - >/dev/null
  k label pod watched seen=yes >/dev/null
  eventually grep -q 'watched.*Pending' "$plain" || status=1
  k_exec get pods -w --output-watch-events -l app=watched >"$events" 2>&1 &
  second=$!
  eventually grep -q 'ADDED.*watched' "$events" || status=1
  k delete pod watched --now >/dev/null
  eventually grep -q 'DELETED.*watched' "$events" || status=1
  kill $watcher $second
  wait $watcher $second 2>/dev/null
  ((status == 0)) || cat "$plain" "$events"
  return $status
}
check_describe() {
  web described | k create -f - >/dev/null && controller described 2 | k create -f - >/dev/null || return
  k create service clusterip described --tcp=80:80 >/dev/null || return
  has 'Containers:' k describe pod described && has 'Replicas:' k describe rc described || return
  eventually has 'SuccessfulCreate' k describe rc described && eventually has 'FailedScheduling' k describe pod described ||
    return
  has 'Endpoints' k describe service described && has 'Status:' k describe namespace "$ns" || return
  k create configmap described --from-literal=a=1 >/dev/null && has 'Data' k describe configmap described || return
  k create secret generic described --from-literal=a=1 >/dev/null && has '1 bytes' k describe secret described || return
  k create serviceaccount described >/dev/null && has 'Name:' k describe serviceaccount described || return
  node described && has 'Allocatable:' k describe node "$ns-described" && has 'Taints:' k describe node "$ns-described"
}
check_edit() {
  settings edited a=1 | k create -f - >/dev/null || return
  EDITOR="sed -i 's/a: .1.$/a: \"2\"/'" has 'edited' k edit configmap edited && value 2 configmap/edited '{.data.a}' || return
  EDITOR=true has 'no changes made' k edit configmap edited || return
  web edited | k create -f - >/dev/null || return
  EDITOR="sed -i 's/tier: front/tier: back/'" has 'edited' k edit pod edited && value back pod/edited '{.metadata.labels.tier}'
}
check_replace() {
  settings replaced a=1 | k create -f - >/dev/null || return
  settings replaced b=2 | has 'replaced' k replace -f - || return
  value '' configmap/replaced '{.data.a}' && value 2 configmap/replaced '{.data.b}' || return
  web replaced | k create -f - >/dev/null || return
  local uid
  uid=$(k get pod replaced -o 'jsonpath={.metadata.uid}')
  web replaced | has 'replaced' k replace --force -f - || return
  [[ $(k get pod replaced -o 'jsonpath={.metadata.uid}') != "$uid" ]] || { echo "the same uid"; return 1; }
  k get configmap replaced -o yaml | sed 's/resourceVersion:.*/resourceVersion: "1"/; s/b: "2"/b: "3"/' |
    refused 'Conflict' k replace -f -
}
check_patch() {
  controller patched 1 | k create -f - >/dev/null || return
  has 'patched' k patch rc patched -p '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"x:2"}]}}}}' || return
  value 'x:2 80' rc/patched '{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].ports[0].containerPort}' ||
    return
  has 'patched' k patch rc patched --type merge -p '{"spec":{"replicas":3}}' && value 3 rc/patched '{.spec.replicas}' || return
  has 'patched' k patch rc patched --type json -p '[{"op":"replace","path":"/spec/replicas","value":4}]' || return
  value 4 rc/patched '{.spec.replicas}' || return
  has 'no change' k patch rc patched --type merge -p '{"spec":{"replicas":4}}' || return
  refused 'Invalid' k patch rc patched --type merge -p '{"spec":{"replicas":-1}}' || return
  ! at_least 1.24 || has 'patched' k patch rc patched --subresource=status --type merge -p '{"status":{"replicas":2}}'
}
check_label() {
  settings labelled a=1 | k create -f - >/dev/null || return
  has 'labeled' k label configmap labelled colour=red && value red configmap/labelled '{.metadata.labels.colour}' || return
  refused 'already has a value' k label configmap labelled colour=blue || return
  has 'labeled' k label configmap labelled colour=blue --overwrite || return
  has 'configmap/labelled' k label configmap labelled colour- && value '' configmap/labelled '{.metadata.labels.colour}'
}
check_annotate() {
  settings annotated a=1 | k create -f - >/dev/null || return
  has 'annotated' k annotate configmap annotated 'note=two words' || return
  value 'two words' configmap/annotated '{.metadata.annotations.note}' || return
  has 'annotated' k annotate configmap --all other=1 && has 'annotated' k annotate configmap annotated note-
}
check_scale() {
  controller scaled 1 | k create -f - >/dev/null || return
  has 'scaled' k scale rc scaled --replicas=5 && value 5 rc/scaled '{.spec.replicas}' || return
  has 'scaled' k scale rc scaled --current-replicas=5 --replicas=2 && value 2 rc/scaled '{.spec.replicas}' || return
  refused 'Expected replicas to be 7' k scale rc scaled --current-replicas=7 --replicas=1 || return
  eventually value 2 rc/scaled '{.status.replicas}' && [[ $(k get pods -l app=scaled -o name | wc -l) == 2 ]] ||
    { k describe rc scaled; return 1; }
}
check_expose() {
  controller exposed 1 | k create -f - >/dev/null || return
  has 'exposed' k expose rc exposed --port=8080 --target-port=80 && value 'exposed 8080 80' service/exposed \
    '{.spec.selector.app} {.spec.ports[0].port} {.spec.ports[0].targetPort}' || return
  has 'exposed' k expose rc exposed --name=exposed-node --type=NodePort --port=80 || return
  local port
  port=$(k get service exposed-node -o 'jsonpath={.spec.ports[0].nodePort}')
  ((port >= 30000 && port <= 32767)) || { echo "node port $port"; return 1; }
  eventually value exposed endpoints/exposed '{.metadata.name}' || return
}
check_run() {
  has 'pod/ran created' k run ran --image=example.test/web:1 --port=80 --labels=app=ran --env=A=b || return
  value 'A b' pod/ran '{.spec.containers[0].env[0].name} {.spec.containers[0].env[0].value}' || return
  has 'kind: Pod' k run dry --image=x --dry-run=client -o yaml && has 'uid' k run dry --image=x --dry-run=server -o yaml
}
check_delete() {
  local name
  for name in one two three; do web "$name" | k create -f - >/dev/null || return; done
  has 'deleted' k delete pod one && refused 'NotFound' k get pod one || return
  has 'deleted' k delete pods -l app=two --now && refused 'NotFound' k delete pod two || return
  has 'deleted' k delete pod three --cascade=orphan --wait=false 2>/dev/null || return
  hasnt 'deleted' k delete pod none --ignore-not-found || return
  settings deleted a=1 | k create -f - >/dev/null && settings deleted a=1 | has 'deleted' k delete -f - || return
  settings deleted-all a=1 | k create -f - >/dev/null && has 'deleted' k delete configmaps --all || return
  refused 'NotFound' k get configmap deleted-all || return
  controller deleted 2 | k create -f - >/dev/null && eventually value 2 rc/deleted '{.status.replicas}' || return
  has 'deleted' k delete rc deleted || return
  eventually hasnt 'deleted-' k get pods
}
check_wait() {
  web waited | k create -f - >/dev/null || return
  (
    sleep 0.2
    api PATCH "/api/v1/namespaces/$ns/pods/waited/status" \
      '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}' >/dev/null
  ) &
  has 'condition met' k wait pod/waited --for=condition=Ready --timeout=10s || return
  ! at_least 1.23 || has 'condition met' k wait pod/waited '--for=jsonpath={.status.phase}=Running' --timeout=10s || return
  (sleep 0.2; k delete pod waited --now >/dev/null) &
  has 'condition met' k wait pod/waited --for=delete --timeout=10s || return
  web waited | k create -f - >/dev/null || return
  refused 'timed out' k wait pod/waited --for=condition=Ready --timeout=1s
}
check_logs() {
  # Nobody runs Pods here: what the agent tells is cluster_test's. The API's own part:
  web silent | k create -f - >/dev/null && k logs silent >/dev/null || return
  refused 'container nonsense is not valid' k logs silent -c nonsense || return
  web lost "$ns-gone" | k create -f - >/dev/null && refused "$ns-gone" k logs lost
}
check_events() {
  local uid event
  web noted | k create -f - >/dev/null && uid=$(k get pod noted -o 'jsonpath={.metadata.uid}') || return
  event="{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"noted\",\"namespace\":\"$ns\"},
    \"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"noted\",\"namespace\":\"$ns\",\"uid\":\"$uid\"},
    \"reason\":\"Noted\",\"message\":\"it was noted\",\"type\":\"Warning\",\"source\":{\"component\":\"test\"},
    \"firstTimestamp\":\"$(date -u +%FT%TZ)\",\"lastTimestamp\":\"$(date -u +%FT%TZ)\",\"count\":3}"
  has 'created' k create -f - <<<"$event" || return
  has 'it was noted' k get events && has 'pod/noted' k get events --field-selector involvedObject.name=noted || return
  has 'it was noted' k describe pod noted || return
  ! at_least 1.26 || has 'it was noted' k events --for pod/noted && has 'Noted' k get events.events.k8s.io
}
# A Node of this version's own, as an agent would make it; for none but the Pods that name it,
# or the scheduler would fill it, and there is no agent to end what is on it.
node() { # NAME
  has 'created' k create -f - <<END || return
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$ns-$1", "labels": {"kubernetes.io/hostname": "$ns-$1"}},
  "spec": {"taints": [{"key": "example.test/nobody-runs-it", "effect": "NoSchedule"}]}}
END
  api PATCH "/api/v1/nodes/$ns-$1/status" '{"status":{"capacity":{"cpu":"2","memory":"4Gi","pods":"110"},
    "allocatable":{"cpu":"2","memory":"4Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}],
    "addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}' >/dev/null
}
check_cordon() {
  node cordoned && has 'cordoned' k cordon "$ns-cordoned" && has 'SchedulingDisabled' k get node "$ns-cordoned" || return
  has 'already cordoned' k cordon "$ns-cordoned" && has 'uncordoned' k uncordon "$ns-cordoned" || return
  hasnt 'SchedulingDisabled' k get node "$ns-cordoned"
}
check_drain() {
  node drained && web drained-1 "$ns-drained" | k create -f - >/dev/null || return
  web drained-2 "$ns-drained" | k create -f - >/dev/null || return
  refused 'drained-1' k drain "$ns-drained" --timeout=5s || return # nobody manages them: --force
  has 'drained' k drain "$ns-drained" --force --grace-period=0 --timeout=20s || return
  hasnt 'drained-' k get pods && has 'SchedulingDisabled' k get node "$ns-drained" || return
  # They were evicted, not deleted.
  has 2 grep -c "verb=create resource=pods/eviction namespace=$ns name=drained-" "$work/master.log"
}
check_taint() {
  node tainted && has 'tainted' k taint node "$ns-tainted" colour=red:NoSchedule || return
  has 'red' k get node "$ns-tainted" -o 'jsonpath={.spec.taints[*].value}' || return
  refused 'already has' k taint node "$ns-tainted" colour=blue:NoSchedule || return
  has 'tainted' k taint node "$ns-tainted" colour=blue:NoSchedule --overwrite && has 'untainted' k taint node "$ns-tainted" colour-
}
check_can_i() {
  has yes k auth can-i create pods && has yes k auth can-i '*' '*' && has yes k auth can-i get /healthz || return
  has '*.*' k auth can-i --list || return
  "$binaries/keelson-master" kubeconfig --user nobody --data-dir "$work/data" --config '' \
    --listen 192.0.2.10:6443 >"$work/nobody.kubeconfig" || return
  local nobody=("$kubectl" --kubeconfig "$work/nobody.kubeconfig" --cache-dir "$work/cache-nobody")
  [[ $("${nobody[@]}" auth can-i create pods 2>/dev/null) == no ]] || { echo "nobody can create pods"; return 1; }
  refused 'cannot list resource "pods"' "${nobody[@]}" get pods || return
  ! at_least 1.27 || has 'kubernetes-admin' k auth whoami
}
check_diff() {
  settings differing a=1 | k apply -f - >/dev/null || return
  settings differing a=1 | k diff -f - >/dev/null || { echo "a difference of nothing"; return 1; }
  local output
  output=$(settings differing a=2 | k diff -f - 2>&1)
  (($? == 1)) && grep -q '^+.*a: "2"' <<<"$output" || { echo "$output"; return 1; }
  output=$(settings differing-new a=2 | k diff -f - 2>&1)
  (($? == 1)) && grep -q '^+.*name: differing-new' <<<"$output" || { echo "$output"; return 1; }
  value 1 configmap/differing '{.data.a}'
}
check_server_side() {
  settings shared a=1 b=1 | has 'serverside-applied' k apply --server-side --field-manager=first -f - || return
  settings shared a=2 | refused 'conflict' k apply --server-side --field-manager=second -f - || return
  value 1 configmap/shared '{.data.a}' || return
  settings shared a=2 | has 'serverside-applied' k apply --server-side --field-manager=second --force-conflicts -f - || return
  value 2 configmap/shared '{.data.a}' || return
  settings shared b=1 | has 'serverside-applied' k apply --server-side --field-manager=first -f - || return
  value '2 1' configmap/shared '{.data.a} {.data.b}'
}
verbs=(version cluster_info api_resources explain create apply get sort watch describe edit replace patch label annotate
  scale expose run delete wait logs events cordon drain taint can_i diff server_side)

# --- the matrix
began=$SECONDS
declare -A result
passed=0
failed=0
for version in "${versions[@]}"; do
  kubectl=${program_of[$version]}
  ns=k${version/./-}
  k create namespace "$ns" >/dev/null || { cat "$work/master.log"; exit 1; }
  for verb in "${verbs[@]}"; do
    [[ -z ${KEELSON_ONLY:-} || $KEELSON_ONLY == "$version" || $KEELSON_ONLY == "$verb" ]] || continue
    if "check_$verb" >"$work/cell" 2>&1; then
      result[$version,$verb]=ok
      ((++passed))
    else
      result[$version,$verb]=FAIL
      ((++failed))
      echo "--- kubectl $version, ${verb//_/ } ---"
      cat "$work/cell"
    fi
  done
done
kill -0 "$master" 2>/dev/null || { echo "the master has ended"; tail -n 30 "$work/master.log"; ((++failed)); }

echo
printf '%-16s' ''
printf '%7s' "${versions[@]}"
echo
for verb in "${verbs[@]}"; do
  printf '%-16s' "${verb//_/ }"
  for version in "${versions[@]}"; do printf '%7s' "${result[$version,$verb]:--}"; done
  echo
done
echo
echo "$passed passed, $failed failed, $((SECONDS - began)) s"
((failed == 0))
