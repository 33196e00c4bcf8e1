#!/usr/bin/env bash
# Measures, and writes the tables of docs/performance.md:
#
#   hack/bench.sh                     in full; nothing else should run on the machine
#   hack/bench.sh --quick [--write]   few runs, to try the measurement itself; without --write they are only printed
#
# First the manager over an API server of its own, then databases on the cluster of KUBECONFIG or the throw-away one,
# which is stopped again when this script started it.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is measured is the program of the image. The clients that measure need not be fast, so they are built as tests are.
hack/image.sh
tests/cluster/cluster build
host=$(rustc --version --verbose | sed -n 's/^host: //p')
HERA_BENCH_PROGRAM=$(realpath "${CARGO_TARGET_DIR:-target}/$host/release/hera")
export HERA_BENCH_PROGRAM
bench=(cargo bench --locked --profile dev)
"${bench[@]}" --no-run --bench manager --bench redis

"${bench[@]}" --bench manager -- "$@"

if [[ -z ${KUBECONFIG:-} ]] && ! tests/cluster/cluster status >/dev/null 2>&1; then
  trap 'tests/cluster/cluster down' EXIT
fi
# shellcheck source=hack/cluster.sh
source hack/cluster.sh
load_hera
"${bench[@]}" --bench redis -- "$@"
