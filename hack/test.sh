#!/usr/bin/env bash
# Runs the layers of the tests and ends with one line of totals:
#
#   hack/test.sh [LAYER...]
#
#   lint       format, and lints of the code
#   unit       nothing needed: the tests in src, in the documentation, and those of tests/ not named below
#   packaging  tests/packaging, with helm and kubectl
#   engine     tests/engine, with real Redis and Valkey servers on loopback
#   api        tests/api, with a kube-apiserver
#   cluster    the throw-away cluster proves what e2e relies on, beside the one that it uses
#   e2e        tests/e2e, with a cluster and the image of Hera
#
# The cluster of e2e is that of KUBECONFIG, or the throw-away one, which is stopped again when this script started it.
# With HERA_TEST_LONG=1 the tests that are ignored otherwise run as well, and there are many more random cases.
set -euo pipefail
cd "$(dirname "$0")/.."

(($#)) || set -- lint unit packaging engine api cluster e2e
layers=("$@")
logs=${CARGO_TARGET_DIR:-target}/test-logs
rm -rf "$logs" && mkdir -p "$logs"
ignored=() release_tests=()
if [[ ${HERA_TEST_LONG:-} == 1 ]]; then
  ignored=(--include-ignored)
  # Thousands of fault plans.
  release_tests=(faults)
  export PROPTEST_CASES=${PROPTEST_CASES:-20000}
fi
# Compiling all libraries once more, optimized, takes longer than the tests gain by it. `make test-long` runs the program of a release.
[[ ${HERA_TEST_LONG:-} == 1 ]] || export HERA_IMAGE_PROFILE=${HERA_IMAGE_PROFILE:-dev}
passed=0 failed=0 left=0 ours='' selftest='' finished=''

say() { printf '\n=== [%4ds] %s\n' "$SECONDS" "$*"; }

wanted() { # LAYER...: true when one of them is to run
  local layer
  for layer in "$@"; do [[ " ${layers[*]} " != *" $layer "* ]] || return 0; done
  return 1
}

run_lint() {
  local name
  for name in fmt clippy; do
    "lint_$name" || return
    echo "1 passed, 0 failed"
  done
}
lint_fmt() { cargo fmt --check; }
lint_clippy() { cargo clippy --all-targets --locked -- -D warnings; }

run_unit() {
  local file name targets=(--lib --bins) host
  for file in tests/*.rs tests/*/main.rs; do
    name=${file#tests/} name=${name%.rs} name=${name%/main}
    [[ " packaging engine api manager e2e ${release_tests[*]} " == *" $name "* ]] || targets+=(--test "$name")
  done
  cargo test --locked --no-fail-fast "${targets[@]}" -- "${ignored[@]}" && cargo test --locked --doc || return
  ((${#release_tests[@]})) || return 0
  # Built as the image is, whose libraries are there already.
  host=$(rustc --version --verbose | sed -n 's/^host: //p')
  RUSTFLAGS='-C target-feature=+crt-static' cargo test --locked --no-fail-fast --release --target "$host" "${release_tests[@]/#/--test=}" -- "${ignored[@]}"
}

run_packaging() { cargo test --locked --no-fail-fast --test packaging; }

# As those of e2e below.
run_engine() { tests/engine/servers && cargo test --locked --no-fail-fast --test engine -- --test-threads=8 "${ignored[@]}"; }

run_api() { cargo test --locked --no-fail-fast --test api --test manager -- "${ignored[@]}"; }

# These tests wait most of the time, so there are more of them at a time than processors.
run_e2e() { cargo test --locked --no-fail-fast --test e2e -- --test-threads=4 "${ignored[@]}"; }

# Adds up what a layer's log says. A layer that ran no test, or ended badly without a failed test, has failed.
count() { # LAYER STATUS
  local p f i
  read -r p f i < <(awk '
    /^test result: / {p += $4; f += $6; i += $8}
    /^[0-9]+ passed, [0-9]+ failed$/ {p += $1; f += $3}
    END {print p + 0, f + 0, i + 0}' "$logs/$1.log")
  if ((f == 0 && ($2 != 0 || p == 0))); then f=1; fi
  passed=$((passed + p)) failed=$((failed + f)) left=$((left + i))
  say "$1: $p passed, $f failed, $i not run"
}

layer() { # LAYER: here, with its output shown
  say "$1"
  local status=0
  "run_$1" 2>&1 | tee "$logs/$1.log" || status=$?
  count "$1" "$status"
}

# The programs of the cluster and the tests are built side by side: each alone leaves a processor idle at times.
build() {
  local cluster='' status=0
  say "building"
  if wanted packaging api cluster || { wanted e2e && [[ -z ${KUBECONFIG:-} ]]; }; then
    (tests/cluster/cluster build && tests/cluster/cluster image) &
    cluster=$!
  fi
  cargo test --locked --no-run || status=$?
  if wanted e2e; then hack/image.sh || status=$?; fi
  if [[ $cluster ]]; then wait "$cluster" || status=$?; fi
  return "$status"
}

# The cluster of the layer e2e.
start() {
  if [[ -z ${KUBECONFIG:-} ]] && ! tests/cluster/cluster status >/dev/null 2>&1; then ours=yes; fi
  # shellcheck source=hack/cluster.sh
  source hack/cluster.sh
  load_hera
}

# At every end: stops what this script started, and says the totals.
finish() {
  local status=$?
  # An end before the last layer is a failure of its own.
  [[ $finished ]] || failed=$((failed + 1))
  if [[ $selftest ]]; then
    kill "$selftest"
    wait "$selftest" || true
  fi
  [[ ! $ours ]] || tests/cluster/cluster down
  echo
  grep -h '^test .* FAILED$' "$logs"/*.log || true
  ((left == 0)) || echo "$left are for make test-long"
  echo "$passed passed, $failed failed"
  exit $((status ? status : failed > 0))
}

trap finish EXIT
build
# It mostly waits, so it runs beside the layers that need no cluster.
if wanted cluster; then
  tests/cluster/selftest >"$logs/cluster.log" 2>&1 &
  selftest=$!
fi
for name in lint unit packaging engine api; do
  if wanted "$name"; then layer "$name"; fi
done
if wanted cluster; then
  status=0
  wait "$selftest" || status=$?
  selftest=''
  cat "$logs/cluster.log"
  count cluster "$status"
fi
if wanted e2e; then
  start
  layer e2e
fi
finished=yes
