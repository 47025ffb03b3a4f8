# shellcheck shell=bash
# Kubernetes itself, for tools/bench api --peer: Debian's source package of it (whose binary package is kubectl
# alone), built into build/peer. Some twenty minutes on two cores, once.

peer_build() { # prints the directory of its binaries
  local into=$PWD/build/peer
  local -a parts=(kube-apiserver kube-scheduler kube-controller-manager)
  if [[ -x $into/${parts[0]} && -x $into/${parts[1]} && -x $into/${parts[2]} ]]; then
    echo "$into"
    return
  fi
  tools/packages peer >&2
  local work=$into/source log=$into/build.log
  rm -rf "$work"
  mkdir -p "$work/lists/partial" "$work/home"
  echo "building Kubernetes from Debian's source package; the log is $log" >&2
  if ! peer_make "$work" "${parts[@]}" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    return 1
  fi
  mv "$work"/kubernetes/_output/bin/kube-* "$into"
  chmod -R u+w "$work" && rm -rf "$work"
  echo "$into"
}

peer_make() { # DIRECTORY PART…
  local work=$1
  shift
  # From where the machine has its packages; its own list of sources stays as it is.
  apt-get indextargets --format 'deb-src $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sort -u >"$work/sources.list" || return
  local -a apt=(apt-get -q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$work/lists" -o APT::Get::List-Cleanup=0)
  "${apt[@]}" update || return
  (cd "$work" && "${apt[@]}" source --download-only kubernetes) || return
  mkdir "$work/kubernetes" || return
  tar -xf "$work"/kubernetes_*.orig.tar.gz -C "$work/kubernetes" --strip-components=1 || return
  cd "$work/kubernetes" || return
  # As debian/rules builds kubectl.
  mkdir -p .go/src/k8s.io && ln -s ../../.. .go/src/k8s.io/kubernetes || return
  env HOME="$work/home" GOPATH="$PWD/.go" GOPROXY=off CGO_ENABLED=0 KUBE_GIT_VERSION=v1.20.2 KUBE_GIT_COMMIT=debian \
    KUBE_GIT_TREE_STATE=clean KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 make WHAT="${*/#/cmd/}"
}
