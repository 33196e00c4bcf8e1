#!/usr/bin/env bash
# Builds Hera's image without a container engine: one static program in an empty file system, not run by root.
# The archive is image/hera.tar in cargo's target folder; the throw-away cluster gets it when it runs.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
host=$(rustc --version --verbose | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)

HERA_COMMIT=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
export HERA_COMMIT

# With --target, the flags are for the program alone, not for what runs during the build.
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin hera --target "$host"

root=$target/image/root
rm -rf "$target/image" && mkdir -p "$root"
install -m 755 "$target/$host/release/hera" "$root/hera"
if readelf --program-headers "$root/hera" | grep -q INTERP; then
  echo "image: the program is not static" >&2
  exit 1
fi
tar --owner=0 --group=0 --mtime=@0 -C "$root" -cf "$target/image/layer.tar" hera
tests/cluster/mkimage.py --name "localhost/hera:$version" "docker.io/library/hera:$version" --user 65532:65532 \
  --entrypoint /hera -- "$target/image/layer.tar" "$target/image/hera.tar"
rm -r "$root" "$target/image/layer.tar"
printf 'the image hera:%s, %d MiB, is in %s\n' "$version" $(($(stat -c %s "$target/image/hera.tar") >> 20)) "$target/image/hera.tar"

if tests/cluster/cluster status >/dev/null 2>&1; then
  tests/cluster/cluster load "$target/image/hera.tar"
fi
