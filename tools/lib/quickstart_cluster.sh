# A cluster of one machine: the master (API server, scheduler, controllers, an etcd of its
# own), this node's agent joined to it, and kubectl applying manifests/guestbook/. Sourced by
# tools/quickstart, whose variables and functions it uses.

programs=(keelson-master keelson-agent keelson-puller podshim keelsonctl demo-echo)
packages=(build run cluster)

configure() {
  if [[ -n $cgroup ]]; then
    # There is no default route whose source could be told to the nodes.
    node_name=quickstart master_flags=(--advertise-address 192.0.2.10)
  else
    node_name=$(hostname -f 2>/dev/null || hostname)
    node_name=${node_name,,} master_flags=()
    agent_flags+=(--hostname-override "$node_name")
  fi
  master_flags+=(--config "" --data-dir "$state/master")
  agent_flags+=(--kubeconfig "$state/node.kubeconfig")
}

# The real one. Proxies of the environment are not for this machine's own addresses.
kube() {
  on_node env NO_PROXY='*' no_proxy='*' kubectl --kubeconfig "$state/admin.kubeconfig" \
    --cache-dir "$state/kubectl-cache" "$@"
}

start_all() {
  local waited=0
  step "Starting the master"
  began=$(now_ms)
  start_daemon master "$bin/keelson-master" "${master_flags[@]}"
  until [[ -s $state/master/admin.kubeconfig ]]; do
    require_running master
    ((waited++ < 300)) || die "the master makes no admin.kubeconfig; its log is $state/logs/master.log"
    sleep 0.1
  done
  ln -sf master/admin.kubeconfig "$state/admin.kubeconfig"
  until kube get --raw /readyz >"$state/logs/readyz" 2>&1; do
    require_running master
    ((waited++ < 300)) || { cat "$state/logs/readyz"; die "the master is not ready; its log is $state/logs/master.log"; }
    sleep 0.1
  done
  printf '  %6d ms  ready\n' $(($(now_ms) - began))
  on_node "$bin/keelson-master" kubeconfig "${master_flags[@]}" --node "$node_name" >"$state/node.kubeconfig.new"
  chmod 600 "$state/node.kubeconfig.new"
  mv "$state/node.kubeconfig.new" "$state/node.kubeconfig"

  step "Starting the agent, which joins as node $node_name"
  began=$(now_ms)
  start_agent
  until [[ $(kube get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]]; do
    require_running agent
    ((waited++ < 600)) || { kube get nodes -o wide || true; die "the node does not become Ready; see $state/logs"; }
    sleep 0.1
  done
  printf '  %6d ms  Ready\n' $(($(now_ms) - began))

  step "kubectl apply -f manifests/guestbook/"
  began=$(now_ms)
  kube apply -f "$repository/manifests/guestbook/" || die "kubectl apply failed"
}

# Before the agent is drained: its controllers would make new Pods in place of those that go.
stop_master() { stop_daemon master; }

wait_until_ready() {
  local i ready=0 name is_ready status
  for ((i = 0; i < 300 && ready < 3; i++)); do
    ready=0 pods=()
    while read -r name is_ready status _; do
      progress "$name" "$is_ready" "$status"
      pods+=("$name")
      [[ $is_ready == 2/2 ]] && ready=$((ready + 1))
    done < <(kube get pods -l app=guestbook --no-headers 2>>"$state/logs/requests.log")
    require_all_running
    ((ready == 3)) || sleep 0.2
  done
  ((ready == 3)) || {
    kube describe pods -l app=guestbook | tail -n 40 || true
    die "not all Pods became Ready in 60 s; see $state/logs"
  }
  echo
  kube get nodes,rc,pods,services -o wide
}

ask_all() {
  local web udp
  web=$(kube get service guestbook -o 'jsonpath={.spec.clusterIP}')
  udp=$(kube get service guestbook-echo -o 'jsonpath={.spec.clusterIP}')
  ask host-tcp-vip on_node bash -c "gets http://$web/"
  ask host-tcp-nodeport on_node bash -c "gets http://$node_ip:30080/"
  ask host-udp-vip on_node "$bin/demo-echo" ask udp "$udp" 7 20
  ask pod-tcp-vip in_pod "${pods[0]}" "$(gets_in_pod "$web" 80)"
  ask pod-tcp-nodeport in_pod "${pods[0]}" "$(gets_in_pod "$node_ip" 30080)"
  ask pod-udp-vip in_pod "${pods[0]}" "demo-echo ask udp $udp 7 20"
  paths=(host-tcp-vip host-tcp-nodeport host-udp-vip pod-tcp-vip pod-tcp-nodeport pod-udp-vip)
  web_ip=$web
}

print_table() {
  local pod path row
  printf '\n%-18s %15s %14s %14s %14s %9s %9s\n' "" "host→ClusterIP" "host→NodePort" "Pod→ClusterIP" "Pod→NodePort" \
    "host→UDP" "Pod→UDP"
  for pod in "${pods[@]}"; do
    row=()
    for path in host-tcp-vip host-tcp-nodeport pod-tcp-vip pod-tcp-nodeport host-udp-vip pod-udp-vip; do
      row+=("$(count "$pod" "$path")")
    done
    printf '%-18s %14s %14s %14s %14s %9s %9s\n' "$pod" "${row[@]}"
  done
}

print_next() {
  cat <<END
  export KUBECONFIG=$state/admin.kubeconfig
  ${prefix}kubectl get pods -o wide
  ${prefix}kubectl scale rc guestbook --replicas=5
  ${prefix}kubectl logs -f ${pods[0]} -c web
  ${prefix}kubectl describe node $node_name
  ${prefix}curl http://$web_ip/
  ${prefix}$bin/keelsonctl $options services
  bpftool map dump pinned /sys/fs/bpf/$instance/v1/vip
END
}

require_all_running() { require_running master; require_running agent; }
