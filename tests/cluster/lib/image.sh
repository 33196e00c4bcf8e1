# Builds images of Debian packages without a container engine, and loads image archives.

# What every image holds beside its recipe's packages: a shell and the small tools that probes and scripts use.
base_packages=base-files,bash,dash,coreutils,sed,grep,gawk,findutils,hostname,procps,libc-bin,ca-certificates,netbase

build_images() {
  local recipe
  packages mmdebstrap:mmdebstrap python3:python3 \
    debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg
  # shellcheck disable=SC2046 # names without blanks
  (($#)) || set -- $(all_recipes)
  for recipe in "$@"; do
    [[ -f $here/images/$recipe ]] || die "no recipe images/$recipe"
    ensure "image-$recipe" "$(fingerprint "$here/images/$recipe" "$here/mkimage.py" "$here/lib/image.sh")" \
      "$cache/images/$recipe.tar" build_image "$recipe"
  done
}

all_recipes() { (cd "$here/images" && echo *); }

build_all() { build_programs && build_images "$@"; }

# A recipe sets NAMES, SUITE, PACKAGES, USERNAME (of user 999) and ENTRYPOINT.
build_image() {
  local recipe=$1 root=$cache/work/image-$1 tar=$cache/work/image-$1.tar
  local NAMES=() SUITE='' PACKAGES='' USERNAME='' ENTRYPOINT=()
  # shellcheck source=/dev/null
  source "$here/images/$recipe"
  rm -rf "$root"
  unpack "$root" && complete "$root" && slim "$root" || return
  tar --numeric-owner --sort=name -C "$root" -cf "$tar" . || return
  "$here/mkimage.py" --name "${NAMES[@]}" --user 999:999 --workdir /data --entrypoint "${ENTRYPOINT[@]}" -- \
    "$tar" "$cache/images/$recipe.tar" || return
  rm -rf "$root" "$tar"
}

# The packages are unpacked, not configured: no maintainer script runs.
unpack() {
  # The index of a suite that is not updated any more is past its date: that is ignored.
  mmdebstrap --quiet --variant=extract --format=directory --include="$base_packages,$PACKAGES" \
    --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' "$SUITE" "$1"
}

# What maintainer scripts would have made: users, links, the bundle of certificates, the cache of libraries.
complete() {
  local r=$1
  mkdir -p "$r"/{data,tmp,root,proc,sys,dev,run,etc/ssl/certs} && chmod 1777 "$r/tmp" && chown 999:999 "$r/data" || return
  [[ -e $r/bin/sh || -L $r/bin/sh ]] || ln -s dash "$r/bin/sh"
  [[ -e $r/usr/bin/awk ]] || ln -s gawk "$r/usr/bin/awk"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh "$USERNAME:x:999:999::/data:/bin/sh" \
    nobody:x:65534:65534::/nonexistent:/bin/false >"$r/etc/passwd"
  printf '%s\n' root:x:0: "$USERNAME:x:999:" nogroup:x:65534: >"$r/etc/group"
  echo 'hosts: files dns' >"$r/etc/nsswitch.conf"
  cat "$r"/usr/share/ca-certificates/mozilla/*.crt >"$r/etc/ssl/certs/ca-certificates.crt"
  rm -f "$r/etc/ld.so.cache" && chroot "$r" /sbin/ldconfig
}

slim() { rm -rf "$1"/dev/* "$1"/usr/share/{man,locale,doc,info,bash-completion} "$1"/var/cache/* "$1/var/lib/apt"; }

load() {
  local file
  (($#)) || die "name the image archives to load"
  for file in "$@"; do
    [[ -f $file ]] || die "no image archive $file"
    enter ctr -n k8s.io images import --local --digests=false "$(realpath "$file")" >>"$data/logs/images.log" 2>&1 ||
      die "could not load $file; the log is $data/logs/images.log"
    say "loaded $(basename "$file")"
  done
}
