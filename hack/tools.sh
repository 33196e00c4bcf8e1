# Sourced: puts kubectl and helm into PATH. Those that are installed come first, then those of the throw-away cluster.
# shellcheck shell=bash

export PATH=$PATH:${HERA_CACHE:-/var/cache/hera-cluster}/bin
if ! command -v kubectl >/dev/null || ! command -v helm >/dev/null; then
  tests/cluster/cluster build
fi
