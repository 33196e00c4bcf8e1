# Builds the programs of the cluster from the Go modules that programs/go.mod names.

# One build for all but runc: every library is compiled once, and both processors are busy to the end.
programs=(
  ./hyperkube ./etcd ./dns ./csi-local
  github.com/containerd/containerd/v2/cmd/containerd
  github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
  github.com/containerd/containerd/v2/cmd/ctr
  github.com/containernetworking/plugins/plugins/ipam/host-local
  github.com/containernetworking/plugins/plugins/main/loopback
  github.com/containernetworking/plugins/plugins/main/ptp
  github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer
  helm.sh/helm/v3/cmd/helm
)
kubernetes_commands=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

build_programs() {
  need_go
  packages gcc:gcc libc6-dev:/usr/include/stdio.h libseccomp-dev:/usr/include/seccomp.h pkg-config:pkg-config \
    iptables:iptables iproute2:ip util-linux:nsenter mount:losetup openssl:openssl python3:python3 procps:pgrep \
    xfsprogs:mkfs.xfs
  ensure programs "$(fingerprint "$here/programs" "$here/lib/build.sh")" \
    "$cache/bin/hyperkube $cache/bin/helm $cache/bin/runc $cache/images/pause.tar" build_all_programs
}

need_go() {
  command -v go >/dev/null ||
    die "needs Go 1.21 or later (it fetches the version that programs/go.mod names): from https://go.dev/dl, or as a package golang-go"
}

build_all_programs() {
  local out=$cache/work/bin command
  rm -rf "$out" && mkdir -p "$out"
  go_build "$out" && build_runc "$out" && build_pause || return
  for command in "${kubernetes_commands[@]}"; do ln -s hyperkube "$out/$command" || return; done
  # Renamed into place, for a cluster that runs has the old ones open.
  mv -f "$out"/* "$cache/bin/" && rm -rf "$out"
}

go_build() {
  local version=k8s.io/component-base/version kubernetes
  cd "$here/programs" || return
  kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) || return
  echo "steps $(CGO_ENABLED=0 go list -deps "${programs[@]}" | wc -l)"
  # Without the version it calls itself v0.0.0. The compiler collects its garbage less often, and is done sooner.
  GOGC=400 CGO_ENABLED=0 go build -v -trimpath -o "$1/" -ldflags="-s -w -X $version.gitVersion=$kubernetes \
    -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d. -f2 <<<"$kubernetes")" "${programs[@]}"
}

build_runc() {
  cd "$here/programs" && CGO_ENABLED=1 go build -trimpath -ldflags='-s -w' -tags seccomp -o "$1/" github.com/opencontainers/runc
}

# The first process of every pod: it holds the pod's namespaces and reaps orphans.
build_pause() {
  local d=$cache/work/pause
  rm -rf "$d" && mkdir -p "$d" && gcc -Os -static -s -o "$d/pause" "$here/programs/pause.c" || return
  tar --owner=0 --group=0 --mtime=@0 -C "$d" -cf "$d.tar" pause || return
  "$here/mkimage.py" --name localhost/pause:1 --entrypoint /pause -- "$d.tar" "$cache/images/pause.tar" || return
  rm -rf "$d" "$d.tar"
}
