#!/usr/bin/env bash
# Real S3 stores for the tests, on free ports of 127.0.0.1, with their data in DIRECTORY.
#
#   stores.sh start STORE DIRECTORY    STORE: versitygw, minio or garage. With the same directory it
#                                      restarts the store with its port and data
#   stores.sh stop DIRECTORY           SIGTERM, after 10 s SIGKILL
#   stores.sh kill DIRECTORY           SIGKILL, as in a crash
#
# `start` returns when the bucket exists. DIRECTORY/env then has ENDPOINT, REGION, ACCESS_KEY,
# SECRET_KEY and BUCKET, DIRECTORY/pid the process id and DIRECTORY/log the store's output.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
gobin=$(go env GOBIN)
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:${gobin:-$(go env GOPATH)/bin}:$PATH"

main() {
  case "${1:-}" in
    start) start "$2" "$(mkdir -p "$3" && cd "$3" && pwd)" ;;
    stop) end "$2" TERM ;;
    kill) end "$2" KILL ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
}

start() {
  local store=$1 dir=$2
  [ -f "$dir/env" ] || new_env "$store" "$dir"
  # shellcheck source=/dev/null
  source "$dir/env"
  "run_$store" "$dir"
  PYTHONDONTWRITEBYTECODE=1 python3 "$here/s3.py" make-bucket "$dir/env" || {
    echo "stores.sh: $store did not get ready:" >&2
    tail -n 40 "$dir/log" >&2
    end "$dir" KILL
    exit 1
  }
}

# Ports and credentials are chosen once for each directory, so that a store can restart.
new_env() {
  local store=$1 dir=$2 ports
  ports=$(free_ports 3)
  mkdir -p "$dir/data"
  {
    echo "STORE=$store"
    echo "PORTS=${ports// /,}"
    echo "ENDPOINT=http://127.0.0.1:${ports%% *}"
    echo "REGION=us-east-1"
    # Garage needs this form of key; the others accept any.
    echo "ACCESS_KEY=GK$(random_hex 12)"
    echo "SECRET_KEY=$(random_hex 32)"
    echo "RPC_SECRET=$(random_hex 32)"
    echo "BUCKET=ftp-clients"
  } >"$dir/env"
}

# The functions run_STORE use the variables of DIRECTORY/env: ENDPOINT, PORTS and so on.
# shellcheck disable=SC2153
run_versitygw() {
  local dir=$1
  local metadata=()
  # The posix backend keeps metadata in extended attributes, or in files if there are none.
  if ! has_xattr "$dir"; then
    mkdir -p "$dir/sidecar"
    metadata=(--sidecar "$dir/sidecar")
  fi
  ROOT_ACCESS_KEY=$ACCESS_KEY ROOT_SECRET_KEY=$SECRET_KEY \
    launch "$dir" versitygw --port "127.0.0.1:${PORTS%%,*}" --region "$REGION" posix "${metadata[@]}" "$dir/data"
}

run_minio() {
  local dir=$1 console
  console=$(cut -d, -f2 <<<"$PORTS")
  MINIO_ROOT_USER=$ACCESS_KEY MINIO_ROOT_PASSWORD=$SECRET_KEY MINIO_REGION=$REGION MINIO_UPDATE=off \
    launch "$dir" minio server "$dir/data" --address "127.0.0.1:${PORTS%%,*}" --console-address "127.0.0.1:$console"
}

run_garage() {
  local dir=$1 rpc admin fresh=
  rpc=$(cut -d, -f2 <<<"$PORTS")
  admin=$(cut -d, -f3 <<<"$PORTS")
  [ -d "$dir/data/meta" ] || fresh=yes
  mkdir -p "$dir/data/meta" "$dir/data/blocks"
  cat >"$dir/garage.toml" <<END
metadata_dir = "$dir/data/meta"
data_dir = "$dir/data/blocks"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$RPC_SECRET"
[s3_api]
s3_region = "$REGION"
api_bind_addr = "127.0.0.1:${PORTS%%,*}"
[admin]
api_bind_addr = "127.0.0.1:$admin"
END
  RUST_LOG=garage=info launch "$dir" garage -c "$dir/garage.toml" server
  poll 30 garage_cli "$dir" status
  if [ -n "$fresh" ]; then
    {
      garage_cli "$dir" layout assign -z ci -c 10G "$(garage_cli "$dir" node id -q | cut -d@ -f1)"
      garage_cli "$dir" layout apply --version 1
      poll 30 garage_cli "$dir" key import --yes -n ci "$ACCESS_KEY" "$SECRET_KEY"
      garage_cli "$dir" bucket create "$BUCKET"
      garage_cli "$dir" bucket allow --read --write --owner "$BUCKET" --key "$ACCESS_KEY"
    } >>"$dir/cli.log"
  fi
}

garage_cli() {
  local dir=$1
  shift
  garage -c "$dir/garage.toml" "$@" 2>>"$dir/cli.log"
}

# The store stays in the caller's process group, and ends with it.
launch() {
  local dir=$1
  shift
  "$@" >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

end() {
  local dir=$1 signal=$2 pid
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  rm -f "$dir/pid"
  kill -"$signal" "$pid" 2>/dev/null || return 0
  local deadline=$((SECONDS + 10))
  while kill -0 "$pid" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then kill -KILL "$pid" 2>/dev/null || return 0; fi
    sleep 0.05
  done
}

# Repeats a command until it succeeds, for at most $1 seconds.
poll() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null; do
    if [ $SECONDS -ge $deadline ]; then echo "stores.sh: no success in time: $*" >&2; return 1; fi
    sleep 0.2
  done
}

has_xattr() {
  python3 - "$1" <<'END'
import os, sys
try:
    os.setxattr(sys.argv[1], "user.s3ftpd-ci", b"1")
    os.removexattr(sys.argv[1], "user.s3ftpd-ci")
except OSError:
    sys.exit(1)
END
}

free_ports() {
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here python3 -c '
import sys
from harness import free_port
print(*(free_port() for _ in range(int(sys.argv[1]))))' "$1"
}

random_hex() {
  python3 -c 'import secrets, sys; print(secrets.token_hex(int(sys.argv[1])))' "$1"
}

main "$@"
