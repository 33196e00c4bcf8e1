# What every part uses: messages, locks, packages, and the record of what was built from which sources.

cache=${HERA_CACHE:-/var/cache/hera-cluster}

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() {
  printf 'cluster: %s\n' "$*" >&2
  exit 1
}

# Checks what every change of the machine needs, and makes the cache.
prepare() {
  [[ $EUID == 0 ]] || die "needs root, for namespaces and mounts: run it with sudo -E, or point KUBECONFIG to another cluster"
  [[ ${#name} -le 11 ]] || die "the name $name is longer than 11 letters"
  mkdir -p "$cache"/{bin,images,made,logs,work,locks}
}

# locked WHAT COMMAND...: runs a command of this script while no other process holds the lock.
locked() {
  local lock=$cache/locks/$1
  shift
  (
    flock 9
    "$@"
  ) 9>"$lock"
}

# packages PACKAGE:COMMAND_OR_FILE...: installs the Debian packages whose command or file is not there.
packages() {
  local missing=() need
  for need in "$@"; do
    [[ -e ${need#*:} ]] || command -v "${need#*:}" >/dev/null || missing+=("${need%%:*}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "these Debian packages, or what brings the same here, are missing: ${missing[*]}"
  [[ $EUID == 0 ]] || die "packages are missing; as root: apt-get install ${missing[*]}"
  say "installing the packages ${missing[*]}"
  mkdir -p "$cache/logs"
  apt_install "${missing[@]}" >"$cache/logs/apt.log" 2>&1 ||
    die "apt-get could not install ${missing[*]}; the log is $cache/logs/apt.log"
}

apt_install() {
  local get=(apt-get -o DPkg::Lock::Timeout=300 -q)
  "${get[@]}" update && DEBIAN_FRONTEND=noninteractive "${get[@]}" install -y --no-install-recommends "$@"
}

fingerprint() { find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c1-16; }

# made WHAT VERSION FILE...: true when WHAT was made from this very version and the files that it makes are there.
made() {
  local what=$1 version=$2 file
  shift 2
  [[ $(cat "$cache/made/$what" 2>/dev/null) == "$version" ]] || return 1
  for file in "$@"; do [[ -e $file ]] || return 1; done
}

# ensure WHAT VERSION "FILE..." COMMAND...: runs the command unless WHAT is made; its output goes to a log.
ensure() {
  local what=$1 version=$2 files=$3 from=$SECONDS log=$cache/logs/$1.log pid
  shift 3
  # shellcheck disable=SC2086 # the files are words
  made "$what" "$version" $files && return
  say "building $what"
  "$@" >"$log" 2>&1 &
  pid=$!
  progress "$pid" "$log" &
  wait "$pid" || {
    tail -n 20 "$log" >&2
    die "$what was not built; the log is $log"
  }
  wait
  printf '%s' "$version" >"$cache/made/$what"
  say "built $what in $((SECONDS - from)) s"
}

# Says every 15 seconds how far a build is, when its log has a line for each step under a first line "steps N".
progress() {
  local pid=$1 log=$2 next=$((SECONDS + 15)) steps
  while [[ -d /proc/$pid ]]; do
    sleep 0.2
    ((SECONDS >= next)) || continue
    next=$((SECONDS + 15))
    steps=$(sed -n '1s/^steps //p' "$log")
    [[ ! $steps ]] || say "  $(($(wc -l <"$log") - 1)) of at most $steps steps"
  done
}
