# A node by itself: the agent on manifests/quickstart/. Sourced by tools/quickstart, whose
# variables and functions it uses.

programs=(keelson-agent keelson-puller podshim keelsonctl demo-echo)
packages=(build run)

configure() { :; }

start_all() {
  cp "$repository"/manifests/quickstart/*.yaml "$state/manifests/"
  step "Starting the agent on $state/manifests"
  began=$(now_ms)
  start_agent
}

stop_master() { :; }

wait_until_ready() {
  pods=(web-1 web-2 web-3 echo)
  local i ready=0 name is_ready status
  for ((i = 0; i < 600 && ready < ${#pods[@]}; i++)); do
    ready=0
    while read -r name is_ready status _; do
      progress "$name" "$is_ready" "$status"
      [[ $is_ready == 1/1 ]] && ready=$((ready + 1))
    done < <(ctl pods 2>/dev/null | tail -n +2)
    require_running agent
    ((ready == ${#pods[@]})) || sleep 0.1
  done
  ((ready == ${#pods[@]})) || { tail -n 30 "$state/logs/agent.log"; die "not all Pods became Ready in 60 s"; }
}

ask_all() {
  ask host-tcp-vip on_node bash -c "gets http://10.96.0.80/"
  ask host-tcp-nodeport on_node bash -c "gets http://$node_ip:30080/"
  ask host-udp-vip on_node "$bin/demo-echo" ask udp 10.96.0.7 7 20
  ask host-udp-nodeport on_node "$bin/demo-echo" ask udp "$node_ip" 30007 20
  ask pod-tcp-vip in_pod echo "$(gets_in_pod 10.96.0.80 80)"
  ask pod-tcp-nodeport in_pod echo "$(gets_in_pod "$node_ip" 30080)"
  ask pod-udp-vip in_pod echo "demo-echo ask udp 10.96.0.7 7 20"
  ask pod-udp-nodeport in_pod echo "demo-echo ask udp $node_ip 30007 20"
  paths=({host,pod}-{tcp,udp}-{vip,nodeport})
}

print_table() {
  local pod protocol path row
  printf '\n%-8s %14s %14s %14s %14s\n' "" "host→ClusterIP" "host→NodePort" "Pod→ClusterIP" "Pod→NodePort"
  for pod in "${pods[@]}"; do
    protocol=tcp
    [[ $pod == echo ]] && protocol=udp
    row=()
    for path in host-$protocol-vip host-$protocol-nodeport pod-$protocol-vip pod-$protocol-nodeport; do
      row+=("$(count "$pod" "$path")")
    done
    printf '%-8s %14s %14s %14s %14s   %s\n' "$pod" "${row[@]}" "${protocol^^}"
  done
}

print_next() {
  cat <<END
  ${prefix}$bin/keelsonctl $options pods -o wide
  ${prefix}$bin/keelsonctl $options logs echo
  ${prefix}$bin/keelsonctl $options services
  ${prefix}curl http://10.96.0.80/
  bpftool map dump pinned /sys/fs/bpf/$instance/v1/vip
  \$EDITOR $state/manifests/web.yaml     (acts as soon as you save)
END
}

require_all_running() { require_running agent; }
