# Writes the keys and the configuration files of a cluster into its data folder.

users=(admin controller-manager scheduler proxy node)

pki() {
  mkdir -p "$data/pki" && cd "$data/pki"
  key ca
  openssl req -x509 -new -key ca.key -out ca.crt -subj "/CN=$name-ca" -days 3650
  key service-accounts
  local kubernetes=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  certificate apiserver /CN=kube-apiserver "DNS:localhost,$kubernetes,IP:127.0.0.1,IP:$first_service,IP:$node_ip"
  certificate node "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$node_ip"
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate controller-manager /CN=system:kube-controller-manager DNS:controller-manager
  certificate scheduler /CN=system:kube-scheduler DNS:scheduler
  certificate proxy /CN=system:kube-proxy DNS:proxy
  local user
  for user in "${users[@]}"; do write_kubeconfig "$user"; done
}

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

certificate() { # NAME SUBJECT ALTERNATIVES
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
  rm "$1.csr"
}

write_kubeconfig() { # USER
  cat >"$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
current-context: $name
contexts: [{name: $name, context: {cluster: $name, user: $1}}]
clusters: [{name: $name, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
Y
}

configuration() {
  mkdir -p "$data/etc"
  network_configuration >"$data/etc/cni.conflist"
  containerd_configuration >"$data/etc/containerd.toml"
  kubelet_configuration >"$data/etc/kubelet.yaml"
  dns_configuration >"$data/etc/Corefile"
}

# One pair of interfaces for each pod in place of a bridge: service traffic between pods passes netfilter.
network_configuration() {
  local range6='' route6=''
  if [[ $net6 ]]; then
    range6=", [{\"subnet\": \"$pods6\"}]" route6=', {"dst": "::/0"}'
  fi
  cat <<J
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$net.0.0/22"}]$range6], "routes": [{"dst": "0.0.0.0/0"}$route6]}}]}
J
}

containerd_configuration() {
  cat <<T
version = 3
root = "$data/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
enable_unprivileged_ports = true
enable_unprivileged_icmp = true
# Without CAP_SYS_RESOURCE an OOM score cannot be lowered: then only what can be set is set.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["$cache/bin"]
conf_dir = "/run/cni"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "$cache/bin/runc"
SystemdCgroup = false
T
}

kubelet_configuration() {
  cat <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $data/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $data/pki/node.crt
tlsPrivateKeyFile: $data/pki/node.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /cluster-$name
failCgroupV1: false
failSwapOn: false
clusterDNS: [$node_ip]
clusterDomain: cluster.local
resolvConf: ""
maxPods: 250
serializeImagePulls: false
# Tests want short waits: these bound how soon a changed Secret or a new status is seen.
syncFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
nodeStatusUpdateFrequency: 5s
nodeStatusReportFrequency: 30s
# A nearly full disk shall not evict pods, nor remove images that cannot be pulled again.
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
Y
}

dns_configuration() {
  cat <<C
.:53 {
    bind $node_ip
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $data/pki/admin.kubeconfig
        pods insecure
        ttl 2
    }
    cache 2
}
C
}
