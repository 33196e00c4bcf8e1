#!/usr/bin/env bash
# Checks format, lints, scripts, and the licences and advisories of the dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/cluster/lib/common.sh
source tests/cluster/lib/common.sh

cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo clippy --manifest-path fuzz/Cargo.toml --locked -- -D warnings

packages shellcheck:shellcheck
shellcheck --external-sources --source-path=SCRIPTDIR:. tests/cluster/cluster tests/cluster/selftest hack/*.sh .ci/run
unformatted=$(cd tests/cluster/programs && gofmt -l .)
[[ ! $unformatted ]] || die "not formatted: $unformatted"

command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
  cargo deny check
else
  echo "lint: the database of advisories cannot be fetched: they are not checked" >&2
  cargo deny check licenses bans sources
fi
