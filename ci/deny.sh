#!/usr/bin/env bash
# Checks licences, duplicate versions and sources of the dependencies with cargo-deny and deny.toml.
#
#   ci/deny.sh               licences, bans, sources; the sources of the fuzz targets too
#   ci/deny.sh advisories    known vulnerabilities. It downloads the RustSec database, so it is not
#                            a stage of .ci/run but a step of each release (RELEASING.md)
#   ci/deny.sh install       only installs cargo-deny
#
# cargo-deny is built once, without optimisation: that halves the build, and it runs for seconds.
set -euo pipefail

CARGO_DENY=0.20.2

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
cache=${S3FTPD_CI_CACHE:-$HOME/.cache/s3ftpd-ci}
root=$cache/cargo-deny
deny=$root/bin/cargo-deny

install() {
  if [ "$("$deny" --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ]; then return; fi
  CARGO_TARGET_DIR="$cache/cargo-deny-target" CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install cargo-deny --version "$CARGO_DENY" --locked --debug --quiet --root "$root"
  rm -rf "$cache/cargo-deny-target"
}

passed=0
failed=0

check() {
  local name=$1
  shift
  if "$deny" --locked "$@"; then
    echo "ok   deny: $name"
    passed=$((passed + 1))
  else
    echo "FAIL deny: $name"
    failed=$((failed + 1))
  fi
}

install
case "${1:-}" in
  "")
    check licenses check --hide-inclusion-graph licenses
    # An exception that no crate needs is an error.
    check bans check --hide-inclusion-graph --deny unmatched-skip --deny unnecessary-skip bans
    check sources check sources
    # The fuzz targets are not shipped, so only the source of their crates counts.
    check "sources of fuzz" --manifest-path fuzz/Cargo.toml --config deny.toml check sources
    ;;
  advisories) check advisories check advisories ;;
  install) exit 0 ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
