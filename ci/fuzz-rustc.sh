#!/usr/bin/env bash
# rustc for fuzz.sh, as cargo's RUSTC_WRAPPER: counts edges and compares in our own crates and nowhere else, so that
# the corpus is led by our code, and dependencies and build scripts are built as everywhere. These are the flags that
# cargo-fuzz gives, without a sanitizer: the code forbids `unsafe`, and a stable compiler has none.
set -euo pipefail

case "${CARGO_PKG_NAME:-}" in
  s3ftpd | s3ftpd-fuzz)
    exec "$@" --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
      -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
