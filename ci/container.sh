#!/usr/bin/env bash
# Tests the promises of the Dockerfile without a container engine: the release binary runs as uid
# 65532, without capabilities, in a read-only root that has only the binary, glibc, CA certificates
# and the configuration.
#
# It also checks that the Dockerfile copies each file that cargo needs.
#
#   container.sh BINARY        needs root, for the mount namespace and the other uid
set -euo pipefail

binary=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Repeats the builder's steps of the Dockerfile, with a cargo that only reads the manifests.
context() {
  local at word step host
  at=$(mktemp -d)
  host=$(rustc -vV | awk '$1 == "host:" { print $2 }')
  while read -r word step; do
    case "$word" in
      COPY) (cd "$here/.." && eval "cp -r --parents ${step% *} '$at'") ;;
      RUN)
        (
          cd "$at"
          # shellcheck disable=SC2317
          cargo() { command cargo metadata --locked --format-version 1 --filter-platform "$host"; }
          eval "$step"
        ) >/dev/null
        ;;
    esac || {
      rm -rf "$at"
      echo "FAIL container: the Dockerfile fails at: $word $step" >&2
      exit 1
    }
  done < <(sed -n '/^FROM .* AS builder/,/^FROM /p' "$here/../Dockerfile" | sed -e :a -e '/\\$/N; s/\\\n//; ta')
  rm -rf "$at"
  echo "ok   container: the Dockerfile copies what cargo needs"
}
context

if [ "$(id -u)" -ne 0 ]; then
  echo "--   container: left out, since it needs root"
  exit 0
fi
root=$(mktemp -d)
pid=
finish() {
  if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
  rm -rf "$root" "$root.log"
}
trap finish EXIT

fail() {
  echo "FAIL container: $*" >&2
  if [ -s "$root.log" ]; then cat "$root.log" >&2; fi
  exit 1
}

main() {
  chmod 755 "$root"
  mkdir -p "$root"/{proc,sys,etc/s3ftpd,usr/local/bin}
  cp "$binary" "$root/usr/local/bin/s3ftpd"
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    mkdir -p "$root/etc/ssl/certs"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  fi
  libraries
  read -r port admin < <(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here python3 -c '
from harness import free_port
print(free_port(), free_port())')
  configuration "$port" "$admin" >"$root/etc/s3ftpd/s3ftpd.toml"

  # The inner shell has its own mount namespace, so its mounts end with it.
  # shellcheck disable=SC2016
  unshare --mount --propagation private bash -euc '
    root=$1
    mount --bind "$root" "$root"
    mount --rbind /proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -o remount,bind,ro "$root"
    exec setpriv --no-new-privs --inh-caps=-all chroot --userspec=65532:65532 "$root" \
      /usr/local/bin/s3ftpd serve --config /etc/s3ftpd/s3ftpd.toml
  ' container "$root" >"$root.log" 2>&1 &
  pid=$!
  session "$port" "$admin" || fail "the session failed"
  local uid
  uid=$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")
  [ "$uid" = 65532 ] || fail "it runs as uid $uid"
  grep -q '^CapEff:[[:space:]]*0*$' "/proc/$pid/status" || fail "it has capabilities: $(grep ^Cap "/proc/$pid/status")"
  kill -TERM "$pid"
  local code=0
  wait "$pid" || code=$?
  pid=
  [ "$code" -eq 0 ] || fail "exit code $code after SIGTERM"
  rm -f "$root.log"
  echo "ok   container: serves as uid 65532, without capabilities, in a read-only root"
}

# The runtime image has only the libraries of glibc and libgcc.
libraries() {
  local library
  while read -r library; do
    case "$(basename "$library")" in
      libc.so.* | libm.so.* | libgcc_s.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*) ;;
      *) fail "the binary needs $library, which the runtime image does not have" ;;
    esac
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done < <(ldd "$binary" | grep -oE '/[^ ]+')
}

configuration() {
  local hash
  hash=$(echo secret | "$binary" hash-password)
  cat <<END
listen = ["127.0.0.1:$1"]
[passive]
ports = "auto"
[admin]
listen = "127.0.0.1:$2"
[stores.none]
endpoint = "http://127.0.0.1:9"
access_key_id = "none"
secret_access_key = "none"
[mounts.none]
store = "none"
bucket = "none"
[users.user]
password = '$hash'
mounts = { "/" = "none" }
END
}

session() {
  python3 - "$1" "$2" <<'END'
import ftplib, sys, time, urllib.request
port, admin = int(sys.argv[1]), sys.argv[2]
end = time.monotonic() + 60
while True:
    try:
        ftp = ftplib.FTP(timeout=60)
        ftp.connect("127.0.0.1", port)
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
ftp.login("user", "secret")
assert ftp.pwd() == "/"
assert ftp.sendcmd("EPSV").startswith("229")
ftp.quit()
assert urllib.request.urlopen(f"http://127.0.0.1:{admin}/healthz", timeout=30).status == 200
END
}

main
