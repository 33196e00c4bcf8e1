# The inside of the cluster: the first process of its namespaces, which starts all others and starts them again when they end.

init() {
  trap '' HUP INT TERM
  # Memory for time: the programs of Kubernetes otherwise spend a good part of it on the collection of garbage.
  export GOGC=400
  cd "$data"
  init_mounts
  init_network
  start_containerd
  start_control_plane
  start_node
  start_storage
  while :; do wait -n || sleep 1; done
}

# Folders of fixed, short paths, for the path of a unix socket may have 107 bytes.
init_mounts() {
  local d
  mount --make-rshared /
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/cni /run/netns
  cp "$data/etc/cni.conflist" /run/cni/
  for d in "${mount_points[@]}"; do mount --bind "$data$d" "$d"; done
  mount --make-rshared /var/lib/kubelet
}

init_network() {
  local limit=$((SECONDS + 30))
  # `up` moves this end of the pair in; when it does not, it was ended, and so is this.
  until [[ -e /proc/sys/net/ipv4/conf/node ]]; do
    ((SECONDS < limit)) || die "no network interface came"
    sleep 0.02
  done
  ip link set lo up
  ip address add "$node_ip/30" dev node
  ip link set node up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  if [[ $net6 ]]; then
    ip address add "$node_ip6/64" dev node nodad
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
  fi
}

start_containerd() {
  keep containerd containerd --config="$data/etc/containerd.toml"
  until [[ -S /run/containerd/containerd.sock ]]; do sleep 0.05; done
  ctr -n k8s.io images import --local "$cache/images/pause.tar" >>"$data/logs/images.log" 2>&1
}

start_control_plane() {
  local k=$data/pki
  keep etcd etcd --data-dir="$data/etcd" --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380 --unsafe-no-fsync --log-level=warn
  keep apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address="$node_ip" \
    --service-cluster-ip-range="$services${net6:+,$services6}" --client-ca-file="$k/ca.crt" \
    --tls-cert-file="$k/apiserver.crt" --tls-private-key-file="$k/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$k/service-accounts.key" --service-account-signing-key-file="$k/service-accounts.key" \
    --kubelet-client-certificate="$k/admin.crt" --kubelet-client-key="$k/admin.key" \
    --kubelet-certificate-authority="$k/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged --profiling=false \
    --max-mutating-requests-inflight=1000 --shutdown-delay-duration=0s
  until kubectl --kubeconfig="$kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
  keep controller-manager kube-controller-manager $(credentials controller-manager) --leader-elect=false \
    --service-account-private-key-file="$k/service-accounts.key" --root-ca-file="$k/ca.crt" \
    --cluster-signing-cert-file="$k/ca.crt" --cluster-signing-key-file="$k/ca.key" --use-service-account-credentials
  keep scheduler kube-scheduler $(credentials scheduler) --leader-elect=false
}

# The flags of a component's identity.
credentials() { printf -- "--%s=$data/pki/$1.kubeconfig " kubeconfig authentication-kubeconfig authorization-kubeconfig; }

start_node() {
  keep kubelet kubelet --config="$data/etc/kubelet.yaml" --kubeconfig="$data/pki/node.kubeconfig" \
    --hostname-override="$node" --node-ip="$node_ip${net6:+,$node_ip6}"
  keep proxy kube-proxy --kubeconfig="$data/pki/proxy.kubeconfig" --hostname-override="$node" --cluster-cidr="$pods${net6:+,$pods6}" \
    --proxy-mode=iptables --iptables-min-sync-period=100ms --conntrack-max-per-core=0 \
    --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
  keep dns dns -conf="$data/etc/Corefile"
}

start_storage() {
  local socket=/var/lib/kubelet/plugins/local.csi.test/csi.sock
  keep storage csi-local -node="$node" -root="$data/volumes" -kubeconfig="$kubeconfig"
  until [[ -S $socket ]]; do sleep 0.05; done
  keep resizer csi-resizer --kubeconfig="$kubeconfig" --csi-address="$socket"
}

# keep WHAT COMMAND...: runs a process again and again, whenever it ends and is not stopped on purpose.
keep() {
  local what=$1
  shift
  while :; do
    while [[ -e $data/stopped/$what ]]; do sleep 0.1; done
    "$@" >>"$data/logs/$what.log" 2>&1 &
    echo $! >"$data/run/$what"
    wait $! || true
    rm -f "$data/run/$what"
    sleep 0.3
  done &
}
