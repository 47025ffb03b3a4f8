#!/usr/bin/env bash
# The Debian package, in a machine booted with systemd: Debian 12 with nothing but the
# package's dependencies, Debian's 6.12 kernel, no network outside. Installs, restarts, kills,
# reboots, upgrades, removes and purges. Every check is a line "ok NAME" or "FAILED NAME"; the
# last line has the sums.
#
# The machine's file system is made once, in build/vm/debian, from this host's Debian mirror.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
cd "$repository"
source tools/lib/vm.sh
source tools/lib/count.sh

kernel=$repository/build/vm/6.12 cache=$repository/build/vm/debian
mkdir -p "$cache"
work=$(mktemp -d -p "$cache")
trap 'rm -rf --one-file-system "$work"' EXIT

# --- the packages: this version, and a later one ---------------------------------------

cmake --build --preset release --target deb demo-echo >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
mkdir "$work/payload"
cp "$(ls -t build/keelson_*.deb | head -n 1)" "$(ls -t build/keelson-master_*.deb | head -n 1)" "$work/payload/"
cpack --config build/CPackConfig.cmake -B "$work/cpack" -D CPACK_PACKAGE_VERSION=99.0.0 >"$work/log" 2>&1 ||
  { tail -n 20 "$work/log"; exit 1; }
mv "$work"/cpack/*.deb "$work/payload/"
cp build/bin/demo-echo test/vm/deb/guest test/vm/deb/echo.yaml README.md "$work/payload/"
[[ -e build/test-image.tar ]] || test/integration/make_test_image build/bin "$PWD/build/test-image.tar"
cp build/test-image.tar "$work/payload/image.tar"
tar -C "$work/payload" -cf "$work/payload.tar" .

# --- cmake --install, on a staging directory --------------------------------------------

DESTDIR=$work/staging cmake --install build --prefix /usr/local >"$work/log"
echo '# an edit' >>"$work/staging/etc/keelson/agent.yaml"
DESTDIR=$work/staging cmake --install build --prefix /usr/local >>"$work/log"
if grep -q '^ExecStart=/usr/local/bin/keelson-agent ' "$work/staging/usr/local/lib/systemd/system/keelson-agent.service" &&
  [[ -x $work/staging/usr/local/bin/keelson-agent && -x $work/staging/usr/local/bin/podshim ]] &&
  [[ -x $work/staging/usr/local/bin/keelsonctl && $(tail -n 1 "$work/staging/etc/keelson/agent.yaml") == '# an edit' ]]; then
  echo "ok      cmake_install_goes_where_the_prefix_says_and_keeps_an_edited_configuration"
else
  echo "FAILED  cmake_install_goes_where_the_prefix_says_and_keeps_an_edited_configuration"
fi | tee "$work/checks"

# --- the machine --------------------------------------------------------------------------

vm_kernel 6.12 "$kernel"
depends=$(for package in keelson keelson-master; do
  dpkg-deb -f "$(ls "$work"/payload/"$package"_*.deb | head -n 1)" Depends | sed -E 's/ \([^)]*\)//g; s/ *\|[^,]*//g; s/, */,/g'
done | paste -sd ,)
# Beside systemd: kmod, which comes with Debian's kernels, the master's etcd, and the eyes of test/vm/deb/guest.
recipe="systemd,systemd-sysv,kmod,iproute2,nftables,curl,procps,etcd-server,$depends"

make_image() {
  local mirror root=$work/root
  tools/packages vm
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' | head -n 1)
  echo "making the machine's file system, once" >&2
  mmdebstrap --quiet --variant=minbase --include="$recipe" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt=force-unsafe-io \
    bookworm "$work/root.tar" "deb $mirror bookworm main" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; return 1; }
  mkdir "$root"
  tar -C "$root" -xf "$work/root.tar"
  cp -a "$kernel/deb/lib/modules" "$root/usr/lib/"
  echo keelson-test >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n192.0.2.10 keelson-test\n' >"$root/etc/hosts"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  # A default route, which leads nowhere. Not by networkd, which without udev waits for it.
  cat >"$root/etc/systemd/system/uplink.service" <<'UNIT'
[Unit]
Before=network.target network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip link add uplink type dummy
ExecStart=/sbin/ip address add 192.0.2.10/24 dev uplink
ExecStart=/sbin/ip link set uplink up
ExecStart=/sbin/ip route add default via 192.0.2.1
UNIT
  cat >"$root/etc/systemd/system/package-test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=exec
ExecStart=/bin/bash -c 'boot=$$(sed "s/.*test.boot=//; s/ .*//" /proc/cmdline); mkdir -p /root/payload; \
  tar -xf /dev/vdb -C /root/payload; /root/payload/guest $$boot; sync; \
  if [ $$boot = 1 ]; then systemctl reboot; else systemctl poweroff; fi'
StandardOutput=file:/dev/hvc0
StandardError=inherit
UNIT
  ln -s ../package-test.service ../uplink.service "$root/etc/systemd/system/multi-user.target.wants/"
  local unit
  for unit in etcd.service systemd-logind.service systemd-timesyncd.service getty-static.service getty@.service e2scrub_reap.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  truncate -s 2G "$work/image"
  mke2fs -q -t ext4 -d "$root" "$work/image"
  rm -rf --one-file-system "$root" "$work/root.tar"
  rm -f "$cache"/*.ext4
  mv "$work/image" "$image"
}
image=$cache/$(echo "$recipe $(<"$kernel/release") $(declare -f make_image)" | sha256sum | cut -c1-12).ext4
[[ -e $image ]] || make_image

vm_early "$kernel" "$work/early.cpio" virtio_pci virtio_console virtio_rng virtio_blk ext4 crc32c_generic <<'INIT'
$b mount -t ext4 /dev/vda /root
$b touch /root/etc/.updated /root/var/.updated
exec $b switch_root /root /sbin/init
INIT

# --- two boots of one disk -------------------------------------------------------------------

# icount: as in tools/vm.
cp --sparse=always "$image" "$work/disk"
for boot in 1 2; do
  timeout --kill-after=5 1450 qemu-system-x86_64 -accel tcg -icount shift=1 -machine q35 -cpu max -m 2048 -smp 1 \
    -nodefaults -no-reboot -display none -monitor none -serial "file:$work/console" \
    -kernel "$kernel/vmlinuz" -initrd "$work/early.cpio" \
    -append "console=ttyS0 panic=-1 oops=panic quiet systemd.show_status=yes systemd.getty_auto=no mitigations=off rcupdate.rcu_expedited=1 no_timer_check test.boot=$boot" \
    -device virtio-rng-pci \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -drive "file=$work/payload.tar,format=raw,if=virtio,readonly=on" \
    -device virtio-serial-pci -chardev stdio,id=log -device virtconsole,chardev=log </dev/null |
    sed -u 's,\r$,,' | tee -a "$work/checks" | { grep --line-buffered -v '^end of boot' || true; } || true
  if ! grep -q "^end of boot $boot$" "$work/checks"; then
    echo "FAILED  boot $boot: the machine ended before its checks did; its console:" | tee -a "$work/checks"
    tail -n 30 "$work/console"
    break
  fi
done
count_start "$PWD/build/test-logs"
count_passed=$(grep -c '^ok ' "$work/checks" || true)
count_failed=$(grep -c '^FAILED ' "$work/checks" || true)
count_finish
