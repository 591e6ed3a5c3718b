#!/usr/bin/env bash
# rustc for fuzz.sh, as cargo's RUSTC_WRAPPER. It counts edges and comparisons in this project's crates
# only, so that our code leads the corpus. The flags are those of cargo-fuzz without a sanitizer: the
# code forbids `unsafe`, and a stable compiler has none.
set -euo pipefail

case "${CARGO_PKG_NAME:-}" in
  s3ftpd | ftp-proto | s3-embedded | test-support | s3ftpd-fuzz)
    exec "$@" --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
      -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
