#!/usr/bin/env bash
# The main job, as a newcomer runs it: tools/quickstart --once, in a sandbox, the cluster and the
# node by itself; then detached, tried, and taken down again. Nothing of it may be left.
set -euo pipefail
cd "$(dirname "$0")/../.."
state=$(mktemp -d)/qs
instance=keelson-qs-$(printf '%s' "$state" | sha256sum | cut -c1-8)
trap 'tools/quickstart --down --sandbox --state-dir "$state" || true; rmdir "$(dirname "$state")"' EXIT

look() { # what quickstart could leave behind
  ip netns list | grep "$instance" || true
  find /sys/fs/cgroup -maxdepth 3 -type d -name "$instance*"
  ls /sys/fs/bpf | grep "$instance" || true
  findmnt -rno TARGET | grep -F "$state" || true
  [[ ! -e $state ]] || echo "$state"
  pgrep -af -- "$state" || true
}

for kind in '' --standalone; do
  tools/quickstart --once --sandbox $kind --state-dir "$state"
  left=$(look)
  [[ -z $left ]] || { echo "left by --once $kind:"; echo "$left"; exit 1; }
done

tools/quickstart --detach --sandbox --state-dir "$state"
if tools/quickstart --once --sandbox --state-dir "$state"; then
  echo "a second quickstart in the same state directory was not refused"
  exit 1
fi
# What it says to try next works: more Pods come, and the administrator's file is where it says.
kube() { nsenter --net="/run/netns/$instance" -- kubectl --kubeconfig "$state/admin.kubeconfig" "$@"; }
kube scale rc guestbook --replicas=5
for ((i = 0; i < 120; i++)); do
  ready=$(kube get rc guestbook -o 'jsonpath={.status.readyReplicas}')
  [[ $ready == 5 ]] && break
  sleep 0.5
done
[[ $ready == 5 ]] || { kube get all -o wide; echo "only ${ready:-0} of 5 Pods became Ready"; exit 1; }
tools/quickstart --down --sandbox --state-dir "$state"
left=$(look)
[[ -z $left ]] || { echo "left by --down:"; echo "$left"; exit 1; }
