#!/usr/bin/env bash
# Builds Hera's image without a container engine: one static program in an empty file system, not run by root.
# The archive is image/hera.tar in cargo's target folder; the throw-away cluster gets it when it runs.
# With HERA_IMAGE_PROFILE=dev it holds the program that the tests are built with, and the libraries that it needs: nothing is
# compiled twice, and what only a debug build checks is checked.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
host=$(rustc --version --verbose | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)

root=$target/image/root
rm -rf "$target/image" && mkdir -p "$root"

static_release() {
  HERA_COMMIT=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  export HERA_COMMIT
  # With --target, the flags are for the program alone, not for what runs during the build.
  RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin hera --target "$host"
  install -m 755 "$target/$host/release/hera" "$root/hera"
  if readelf --program-headers "$root/hera" | grep -q INTERP; then
    echo "image: the program is not static" >&2
    exit 1
  fi
}

dynamic_dev() {
  local library
  # As the tests build it: alone it would get other features of the libraries, and they would be compiled once more.
  cargo test --locked --no-run --test e2e
  install -m 755 "$target/debug/hera" "$root/hera"
  for library in $(ldd "$root/hera" | grep -o '/[^ ]*'); do
    install -D -m 755 "$library" "$root$library"
  done
}

case ${HERA_IMAGE_PROFILE:-release} in
  release) static_release ;;
  dev) dynamic_dev ;;
  *) echo "image: HERA_IMAGE_PROFILE is neither release nor dev" >&2 && exit 2 ;;
esac
tar --owner=0 --group=0 --mtime=@0 -C "$root" -cf "$target/image/layer.tar" .
tests/cluster/mkimage.py --name "localhost/hera:$version" "docker.io/library/hera:$version" --user 65532:65532 \
  --entrypoint /hera -- "$target/image/layer.tar" "$target/image/hera.tar"
rm -r "$root" "$target/image/layer.tar"
printf 'the image hera:%s, %d MiB, is in %s\n' "$version" $(($(stat -c %s "$target/image/hera.tar") >> 20)) "$target/image/hera.tar"

if tests/cluster/cluster status >/dev/null 2>&1; then
  tests/cluster/cluster load "$target/image/hera.tar"
fi
