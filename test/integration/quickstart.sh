#!/usr/bin/env bash
# The main job, as a newcomer runs it: tools/quickstart --once, in a sandbox; then detached
# and taken down again. Nothing of it may be left.
set -euo pipefail
cd "$(dirname "$0")/../.."
state=$(mktemp -d)/qs
trap 'tools/quickstart --down --sandbox --state-dir "$state" || true; rmdir "$(dirname "$state")"' EXIT

look() { # what quickstart could leave behind
  ip netns list | grep keelson-qs || true
  find /sys/fs/cgroup -maxdepth 3 -type d -name 'keelson-qs*'
  ls /sys/fs/bpf | grep keelson-qs || true
  findmnt -rno TARGET | grep -F "$state" || true
  [[ ! -e $state ]] || echo "$state"
}

tools/quickstart --once --sandbox --state-dir "$state"
left=$(look)
[[ -z $left ]] || { echo "left by --once:"; echo "$left"; exit 1; }

tools/quickstart --detach --sandbox --state-dir "$state"
if tools/quickstart --once --sandbox --state-dir "$state"; then
  echo "a second quickstart in the same state directory was not refused"
  exit 1
fi
tools/quickstart --down --sandbox --state-dir "$state"
left=$(look)
[[ -z $left ]] || { echo "left by --down:"; echo "$left"; exit 1; }
