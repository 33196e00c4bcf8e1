# Sourced: chooses the cluster. KUBECONFIG as given, or the throw-away cluster, started if it does not run.
# shellcheck shell=bash

if [[ -z ${KUBECONFIG:-} ]]; then
  tests/cluster/cluster up
  eval "$(tests/cluster/cluster env)"
else
  source hack/tools.sh
fi

# The throw-away cluster pulls no image: it gets Hera's by an archive. Other clusters pull it, or have it already.
load_hera() {
  if [[ $KUBECONFIG == "$(tests/cluster/cluster env | sed -n 's/^export KUBECONFIG=\([^ ]*\).*/\1/p')" ]]; then
    hack/image.sh
  fi
}
