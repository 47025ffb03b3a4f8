#!/usr/bin/env bash
# A new user's walk: the README's and the guide's commands, taken from their text and run
# as they stand, against an agent with its default directories. Those are the user's own here: a network
# and a mount namespace, with scratch directories over /etc, /var/lib and /run, and a
# scratch cgroup. Installing the package is the VM test's, tools/quickstart is quickstart.sh's.
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD

if [[ ${1:-} != inside ]]; then
  mkdir -p build/downloads
  compgen -G 'build/downloads/busybox-static_*.deb' >/dev/null || (cd build/downloads && apt-get download -q busybox-static)
  scratch=$(mktemp -d /tmp/keelson-readme-XXXXXX)
  cgroup=$(findmnt -rno TARGET -t cgroup2 | head -n 1)/${scratch##*/}
  mkdir "$cgroup" "$cgroup/host"
  status=0
  KEELSON_SCRATCH=$scratch KEELSON_CGROUP=$cgroup unshare --mount --net --propagation private \
    bash -c 'echo $$ >"$KEELSON_CGROUP/host/cgroup.procs"; exec "$@"' _ "$PWD/test/integration/readme.sh" inside || status=$?
  for ((i = 0; i < 50; i++)); do rmdir "$cgroup/host" 2>/dev/null && break; sleep 0.1; done
  rmdir "$cgroup" || { echo "left behind: $(find "$cgroup" -type d)"; status=1; }
  ! findmnt -rno TARGET | grep "^$scratch" || status=1
  rm -rf --one-file-system "$scratch"
  exit $status
fi

# --- the machine -------------------------------------------------------------------
scratch=$KEELSON_SCRATCH
mount -t tmpfs tmpfs "$scratch"
mkdir -p "$scratch"/{etc,etc-work,var,var-work,data,image/bin,image/www,work}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/etc-work" /etc
mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$scratch/var,workdir=$scratch/var-work" /var/lib
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /var/lib/keelson /etc/keelson/manifests
mount --bind "$scratch/data" /var/lib/keelson
cp packaging/agent.yaml /etc/keelson/agent.yaml
printf '%s\n' "pod-cgroup: $KEELSON_CGROUP/pods" "cgroup-root: $KEELSON_CGROUP" "node-ip: 192.0.2.10" >>/etc/keelson/agent.yaml
ip link set lo up
ip link add eth0 type veth peer name outside0
ip address add 192.0.2.10/24 dev eth0
ip link set eth0 up
ip link set outside0 up
export PATH=$repository/build/bin:/usr/sbin:/usr/bin:/sbin:/bin no_proxy='*' NO_PROXY='*'
dpkg-deb -x "$(compgen -G 'build/downloads/busybox-static_*.deb' | head -n 1)" "$scratch/deb"
cp "$scratch/deb/bin/busybox" "$scratch/image/bin/busybox"
ln -s busybox "$scratch/image/bin/httpd"
echo hello >"$scratch/image/www/index.html"
tools/mkimage --root "$scratch/image" --name docker.io/library/my-image:1 --entrypoint /bin/httpd \
  --cmd -f --cmd -p --cmd 8080 --cmd -h --cmd /www --stop-signal SIGKILL --output "$scratch/work/my-image.tar"

keelson-agent >"$scratch/agent.log" 2>&1 &
agent=$!
finish() {
  local status=$?
  ((status == 0)) || { echo "--- agent log"; tail -n 30 "$scratch/agent.log"; }
  [[ ! -d /proc/$agent ]] || { keelsonctl drain >/dev/null || status=1; kill "$agent"; wait "$agent" || status=1; }
  exit $status
}
trap finish EXIT
for ((i = 0; i < 100; i++)); do keelsonctl status >/dev/null 2>&1 && break; sleep 0.1; done

# --- the text ------------------------------------------------------------------------
# block FILE PATTERN: the code block of FILE that holds PATTERN.
block() {
  awk -v pattern="$2" '/^```/ { if (open && index(text, pattern)) printf "%s", text; open = !open; text = ""; next }
    open { text = text $0 "\n" }' "$1"
}
walk() { # NAME TEXT: every command must succeed
  echo "== $1"
  (cd "$scratch/work" && bash -euo pipefail -c "$2") || { echo "$1: a command failed:"; echo "$2"; exit 1; }
}
first=$(block README.md 'cat > /etc/keelson/manifests/hello.yaml' | grep -v '^apt-get install')
[[ $first == *curl* ]]
walk "README: a first Pod and a first Service" "$first" | tee "$scratch/first"
grep -qx hello "$scratch/first"

inside=$(block README.md 'keelsonctl drain')
cp /etc/keelson/manifests/hello.yaml "$scratch/work/"
while IFS= read -r line; do
  case $line in
    *doctor*) walk "README: $line" "${line%%#*} >doctor.out || [[ \$? == 1 ]]; grep -q BTF doctor.out" ;; # what it says is this host's
    *drain*) ;;                                                                                           # comes last
    *) walk "README: $line" "${line%%#*} | tee out | head -n 20; [[ -s out ]]" ;;
  esac
done <<<"$inside"

token="Authorization: Bearer $(cat /var/lib/keelson/api.token)"
while read -r method path _; do
  [[ $method == GET ]] || continue
  path=${path//\{namespace\}/default} path=${path//\{pod\}/hello} path=${path//\{container\}/web}
  for one in $path; do
    walk "guide: GET $one" "curl -sSf -m 2 -H '$token' 'http://127.0.0.1:10250${one/follow=true&/}' >/dev/null"
  done
done < <(block docs/guide.md 'GET    /pods ' | sed -E 's#^GET +(/[a-z]+) (/.*)#GET \1 \2#' |
  awk '{ for (i = 2; i <= NF; i++) if ($i ~ /^\//) print $1, $i }')
walk "guide: edit, and the Pod is replaced" 'uid() { keelsonctl pods hello -o json | grep "\"uid\""; }; before=$(uid)
  sed -i "s/labels: {app: hello}/labels: {app: hello, edited: now}/" /etc/keelson/manifests/hello.yaml
  for ((i = 0; i < 100; i++)); do [[ $(uid) != "$before" ]] && exit 0; sleep 0.1; done; exit 1'
walk "guide: remove it, and the Pod stops" 'rm /etc/keelson/manifests/hello.yaml
  for ((i = 0; i < 400; i++)); do [[ -z $(keelsonctl pods 2>/dev/null) ]] && exit 0; sleep 0.1; done; exit 1'
# What a master takes (the guestbook) is the cluster layer's.
for manifest in $(find manifests -type f ! -path '*/guestbook/*'); do walk "$manifest" "keelsonctl validate -q $repository/$manifest"; done
walk "README: drain" "keelsonctl drain"
[[ -z $(ls -A /sys/fs/bpf/keelson 2>/dev/null) && ! -e $KEELSON_CGROUP/pods ]]
