# The outside of the cluster: starting it, stopping it, and reaching into it.

mount_points=(/var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods)

# The process id, seen from the host, of the first process of the cluster's namespaces; false when it does not run.
# It is found by its command line, not remembered: a crash of `up` leaves nothing that would be wrong later.
first() {
  local p
  for p in $(pgrep -f "^bash .*/cluster __init__ $name\$"); do
    [[ $(awk '/^NSpid:/ {print $NF}' "/proc/$p/status" 2>/dev/null) == 1 ]] || continue
    echo "$p"
    return
  done
  return 1
}

up() { # RECIPE...
  if first >/dev/null && [[ -e $data/ready ]]; then
    say "the cluster $name is up already: export KUBECONFIG=$kubeconfig"
    return
  fi
  local recipe
  # What a start that was cut short left.
  down_quietly
  if ip -4 route show | grep -F "$net."; then die "the net $net.0.0/16 is in use: choose another CLUSTER_NET"; fi
  make_folders
  (pki)
  configuration
  start_namespaces
  connect
  say "waiting for the API server"
  wait_for 60 containerd enter ctr version
  wait_for 120 "the API server" admin get --raw /readyz
  admin apply -f "$here/manifests/storage.yaml" >/dev/null
  # shellcheck disable=SC2046 # names without blanks
  (($#)) || set -- $(all_recipes)
  for recipe in "$@"; do load "$cache/images/$recipe.tar"; done
  say "waiting for the node"
  wait_for 120 "the node" node_is_ready
  wait_for 60 "the default service account" admin get serviceaccount default
  touch "$data/ready"
  say "the cluster $name is ready: export KUBECONFIG=$kubeconfig"
}

admin() { "$cache/bin/kubectl" --kubeconfig="$kubeconfig" "$@"; }

node_is_ready() {
  local state
  state=$(admin get node "$node" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status} {.spec.taints[*].key}') &&
    [[ $state == "True " ]] && admin get csinode "$node" -o jsonpath='{.spec.drivers[*].name}' | grep -q local.csi.test
}

make_folders() {
  local d f
  mkdir -p "$data"/{logs,run,stopped} "${mount_points[@]}" "${mount_points[@]/#/$data}"
  for d in $(cgroups); do mkdir -p "$d"; done
  for f in cpuset.cpus cpuset.mems; do # of cgroup v1: a new one is empty and takes no process
    [[ ! -e /sys/fs/cgroup/cpuset/cluster-$name/$f ]] ||
      cat "/sys/fs/cgroup/cpuset/$f" >"/sys/fs/cgroup/cpuset/cluster-$name/$f"
  done
}

# The folder of this cluster in every hierarchy of control groups.
cgroups() {
  local c
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo "/sys/fs/cgroup/cluster-$name"
    return
  fi
  for c in /sys/fs/cgroup/*/; do
    if [[ -e $c/cgroup.procs && ! -L ${c%/} ]]; then echo "${c}cluster-$name"; fi
  done
}

start_namespaces() {
  # It outlives this script, so it must not hold the script's lock.
  HERA_CACHE=$cache CLUSTER_NAME=$name CLUSTER_DATA=$data CLUSTER_NET=$net CLUSTER_NET6=$net6 \
    setsid unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
    bash "$self" __init__ "$name" </dev/null >"$data/logs/init.log" 2>&1 9>&- &
  disown
  local limit=$((SECONDS + 10))
  until first >/dev/null; do
    ((SECONDS < limit)) || die "could not make the namespaces: $(cat "$data/logs/init.log")"
    sleep 0.02
  done
  stat -L -c %i "/proc/$(first)/ns/pid" >"$data/namespace"
}

# One end of the pair of interfaces here, the other inside, and a route to all pods and services.
connect() {
  ip link add "h-$name" type veth peer name node netns "$(first)"
  ip address add "$host_ip/30" dev "h-$name"
  ip link set "h-$name" up
  ip route add "$net.0.0/16" via "$node_ip"
  [[ $net6 ]] || return 0
  ip address add "$host_ip6/64" dev "h-$name" nodad
  ip -6 route add "$pods6" via "$node_ip6"
  ip -6 route add "$services6" via "$node_ip6"
}

wait_for() { # SECONDS WHAT COMMAND...
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= limit)) || ! first >/dev/null; then
      tail -n 5 "$data"/logs/*.log >&2
      die "waited in vain for $what; the logs are in $data/logs"
    fi
    sleep 0.1
  done
}

down() {
  down_quietly
  say "the cluster $name is down"
}

down_quietly() {
  local p tries=0
  if p=$(first); then
    # The end of the first process ends every process of its namespace, and with them the mounts and the network.
    kill -KILL "$p"
  fi
  while first >/dev/null || a_process_is_left || ! clean; do
    ((++tries < 300)) || die "processes or control groups of $name are left"
    sleep 0.1
  done
  rm -rf --one-file-system "$data"
}

# A first process that is ending has no command line any more: the others are told by their namespace.
a_process_is_left() {
  [[ -s $data/namespace ]] && grep -qxF -f "$data/namespace" < <(stat -L -c %i /proc/[0-9]*/ns/pid 2>/dev/null)
}

# Removes what outlives the processes; false while a control group still holds one.
clean() {
  local d left=0
  ip link delete "h-$name" 2>/dev/null || true
  for d in $(cgroups); do
    [[ ! -d $d ]] || find "$d" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done
  # Of the host, and kept when it uses them itself.
  # Removing a folder would end the mounts of other clusters on it.
  for d in "${mount_points[@]}"; do grep -qs " $d " /proc/[0-9]*/mounts || rmdir "$d" 2>/dev/null || true; done
  return "$left"
}

enter() {
  local p
  p=$(first) || die "the cluster $name is not up"
  nsenter --target "$p" --mount --net --pid "$@"
}

stop() { # PART
  enter true
  touch "$data/stopped/$1"
  [[ ! -e $data/run/$1 ]] || enter kill "$(cat "$data/run/$1")"
  while [[ -e $data/run/$1 ]]; do sleep 0.05; done
}

start() { # PART
  enter true
  rm -f "$data/stopped/$1"
  while [[ ! -e $data/run/$1 ]]; do sleep 0.05; done
}

# A container's first process ignores what comes from inside its own process namespace: this comes from above it.
signal() { # SIGNAL NAMESPACE POD CONTAINER
  (($# == 4)) || die "usage: cluster signal SIGNAL NAMESPACE POD CONTAINER"
  local id pid
  id=$(admin -n "$2" get pod "$3" -o jsonpath="{.status.containerStatuses[?(@.name==\"$4\")].containerID}")
  pid=$(enter ctr -n k8s.io tasks list 2>/dev/null | awk -v id="${id#containerd://}" '$1 == id {print $2}')
  [[ $pid ]] || die "the container $4 of $2/$3 does not run"
  enter kill -s "$1" "$pid"
}

status() {
  local part
  first >/dev/null || {
    echo "the cluster $name is down"
    return 1
  }
  for part in "$data"/run/*; do
    printf '%-20s %6s KiB\n' "$(basename "$part")" "$(enter awk '/^VmRSS/ {print $2}' "/proc/$(cat "$part")/status")"
  done
  admin get nodes,pods -A -o wide
}
