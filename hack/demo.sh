#!/usr/bin/env bash
# From nothing to a Redis with three pods that survives the death of its primary.
set -euo pipefail
cd "$(dirname "$0")/.."

name=redis-replication
version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)
# A cluster that pulls images takes another repository, or has hera:VERSION already.
repository=${HERA_IMAGE_REPOSITORY:-hera}

phase() { printf '\n\033[1m=== [%4ds] %s\033[0m\n' "$SECONDS" "$*"; }
field() { kubectl get redis "$name" -o jsonpath="$1"; }
ready() { [[ $(field '{.status.conditions[?(@.type=="Ready")].status}') == True ]]; }

# The state whenever it changes, until a condition holds.
watch_until() { # SECONDS COMMAND...
  local limit=$((SECONDS + $1)) line last=''
  shift
  until "$@"; do
    line=$(field '{.status.phase}: {.status.conditions[?(@.type=="Ready")].message}')
    [[ $line == "$last" ]] || printf '[%4ds] %s\n' "$SECONDS" "$line"
    last=$line
    ((SECONDS < limit)) || {
      kubectl describe redis "$name" | tail -n 40
      echo "demo: waited in vain; see 'kubectl -n hera-system logs deployment/hera'" >&2
      exit 1
    }
    sleep 0.5
  done
}

has_another_primary() { [[ $(field '{.status.primary}') != "$1" ]] && ready; }

connection() { kubectl get secret "$name-connection" -o go-template="{{ .data.$1 | base64decode }}"; }

phase "1. A cluster"
# shellcheck source=hack/cluster.sh
source hack/cluster.sh
kubectl get nodes

phase "2. The image of Hera"
load_hera

phase "3. Hera itself, by its chart"
helm upgrade --install hera charts/hera --namespace hera-system --create-namespace \
  --set "image.repository=$repository,image.tag=$version" --wait --timeout 5m
kubectl -n hera-system get pods

phase "4. A Redis with three pods"
kubectl apply -f config/samples/redis_replication.yaml
watch_until 300 ready
kubectl get redis "$name"
kubectl get pods -l "app.kubernetes.io/instance=$name"

phase "5. Its primary dies"
primary=$(field '{.status.primary}')
echo "kubectl delete pod $primary --grace-period=0 --force"
kubectl delete pod "$primary" --grace-period=0 --force 2>/dev/null
watch_until 120 has_another_primary "$primary"
echo "The primary is $(field '{.status.primary}') now."
kubectl get redis "$name"
kubectl get pods -l "app.kubernetes.io/instance=$name"

phase "Connect"
cat <<T
  export KUBECONFIG=$KUBECONFIG
  kubectl get secret $name-connection -o go-template='{{ .data.password | base64decode }}'
  kubectl port-forward "pod/\$(kubectl get redis $name -o jsonpath='{.status.primary}')" $(connection port)
  redis-cli --user $(connection username) --askpass

Inside the cluster: $(connection host):$(connection port), user $(connection username)
To end it: kubectl delete redis $name, or make cluster-down for everything.
T
