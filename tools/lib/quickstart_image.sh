# The image that the quickstart's Pods run: Debian's busybox-static and demo-echo. Sourced by
# tools/quickstart, whose variables it uses.

make_image() { # ARCHIVE
  local scratch=$state/image cache=$repository/build/downloads applet
  mkdir -p "$scratch/deb" "$scratch/root"/{bin,www,tmp}
  if [[ -x /usr/bin/busybox ]] && file -L /usr/bin/busybox 2>/dev/null | grep -q 'statically linked'; then
    cp -L /usr/bin/busybox "$scratch/root/bin/busybox"
  else
    mkdir -p "$cache"
    if ! compgen -G "$cache/busybox-static_*.deb" >/dev/null; then
      (cd "$cache" && { apt-get download -q busybox-static || { apt-get update -q && apt-get download -q busybox-static; }; }) \
        >"$state/logs/busybox.log" 2>&1 || { cat "$state/logs/busybox.log"; die "cannot download busybox-static"; }
    fi
    dpkg-deb -x "$(compgen -G "$cache/busybox-static_*.deb" | head -n 1)" "$scratch/deb"
    cp "$scratch/deb/bin/busybox" "$scratch/root/bin/busybox"
  fi
  cp "$bin/demo-echo" "$scratch/root/bin/"
  for applet in sh ls cat nc ping ip id ps sleep; do ln -sf busybox "$scratch/root/bin/$applet"; done
  chmod 1777 "$scratch/root/tmp"
  "$repository/tools/mkimage" --root "$scratch/root" --name docker.io/library/quickstart:latest \
    --env PATH=/bin --entrypoint /bin/sh --output "$1"
  rm -rf "$scratch"
}
