# Debian's kernels for virtual machines, for tools/vm and test/vm. Source it; $repository is
# the repository's root.

# Unpacks Debian's kernel 6.1 or 6.12 and busybox, which are not installed, into DIRECTORY:
# vmlinuz, release (its name), deb/lib/modules, busybox. Does nothing when they are there.
vm_kernel() { # VERSION DIRECTORY
  local version=$1 cache=$2 pattern package release
  [[ ! -e $cache/kernel-ready ]] || return 0
  mkdir -p "$cache"
  "$repository/tools/packages" vm
  pattern='^linux-image-6\.1\.[0-9]+-[0-9]+-amd64$'
  [[ $version == 6.12 ]] && pattern='^linux-image-6\.12\.[0-9]+\+deb12-amd64$'
  package=$(apt-cache pkgnames "linux-image-$version" | grep -E "$pattern" | sort -V | tail -n 1)
  [[ -n $package ]] || { echo "vm: Debian has no kernel $version here; apt-get update?" >&2; return 1; }
  echo "vm: fetching $package" >&2
  rm -rf "$cache/deb" "$cache/bb" && mkdir -p "$cache/deb"
  (cd "$cache" && rm -f ./*.deb && apt-get download -q "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb deb && rm -f ./*.deb)
  release=$(basename "$cache"/deb/lib/modules/*)
  mkdir -p "$cache/deb/usr"
  [[ -e $cache/deb/usr/lib ]] || ln -s ../lib "$cache/deb/usr/lib"
  depmod -b "$cache/deb" "$release"
  cp "$cache"/deb/boot/vmlinuz-* "$cache/vmlinuz"
  (cd "$cache" && apt-get download -q busybox-static >/dev/null 2>&1 && dpkg-deb -x ./busybox-static_*.deb bb && rm -f ./*.deb)
  cp "$cache/bb/bin/busybox" "$cache/busybox"
  echo "$release" >"$cache/release"
  touch "$cache/kernel-ready"
}

# Makes OUTPUT, the early user space: mounts /proc, /sys and /dev, loads the MODULEs and what
# they need, and goes on with the lines of standard input, in busybox's sh ($b is busybox).
vm_early() { # DIRECTORY OUTPUT MODULE…
  local cache=$1 output=$2 release early module name
  shift 2
  release=$(<"$cache/release")
  early=$(mktemp -d)
  mkdir -p "$early"/{bin,modules,proc,sys,dev,lower,upper,root}
  cp "$cache/busybox" "$early/bin/busybox"
  : >"$early/modules/order"
  while read -r module; do
    name=$(basename "$module" .xz)
    if [[ $module == *.xz ]]; then xz -dc "$module" >"$early/modules/$name"; else cp "$module" "$early/modules/$name"; fi
    echo "$name" >>"$early/modules/order"
  done < <(modprobe --dirname "$cache/deb" --set-version "$release" --show-depends --all "$@" 2>/dev/null |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++')
  {
    cat <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read -r m; do $b insmod /modules/$m; done < /modules/order
INIT
    cat
  } >"$early/init"
  chmod +x "$early/init"
  (cd "$early" && find . | cpio -o -H newc --quiet) >"$output.$$"
  mv "$output.$$" "$output"
  rm -rf "$early"
}
