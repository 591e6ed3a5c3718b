#!/usr/bin/env bash
# Builds all fuzz targets (fuzz/src/bin), runs each for a time, and fails if one finds a fault.
#
#   ci/fuzz.sh [SECONDS] [TARGET...]      default: 60 s each, all targets
#   JOBS=8 ci/fuzz.sh 3600                the number of targets in parallel; default: 2
#   FUZZ_SEED=0 ci/fuzz.sh 3600           0 takes the seed from the clock; default: 1, so that a
#                                         change gets the same inputs each time
#
# It needs the stable toolchain and a C++ compiler: libFuzzer comes as source with a crate, and
# fuzz-rustc.sh has the compiler count edges. New inputs go to S3FTPD_FUZZ_CORPUS (default: a
# directory of the cache), from which the next run starts, as from the seeds in fuzz/corpus. Inputs
# that fail go to fuzz/artifacts. FUZZ_TARGET_DIR is the target directory: nothing can be shared with
# other builds, since the compiler's flags differ.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
shift || true
jobs=${JOBS:-2}
seed=${FUZZ_SEED:-1}
cache=${S3FTPD_CI_CACHE:-$HOME/.cache/s3ftpd-ci}
corpus=${S3FTPD_FUZZ_CORPUS:-$cache/fuzz-corpus}
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$cache/fuzz-target}
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
export RUSTC_WRAPPER=$PWD/ci/fuzz-rustc.sh

# Limits of one process: memory in MiB, seconds for one input, bytes of one input.
MEMORY=1024
INPUT_SECONDS=60
INPUT_BYTES=1024

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for path in fuzz/src/bin/*.rs; do targets+=("$(basename "$path" .rs)"); done
fi
logs=$(mktemp -d)
running=()
passed=0
failed=0

finish() {
  trap - EXIT
  local child
  for child in "${running[@]}"; do kill "$child" 2>/dev/null || true; done
  rm -rf "$logs"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

main() {
  begun=$SECONDS
  cargo fmt --check --manifest-path fuzz/Cargo.toml
  cargo build --quiet --locked --manifest-path fuzz/Cargo.toml --bins
  echo "fuzz: built in $((SECONDS - begun)) s"
  local at name some
  for ((at = 0; at < ${#targets[@]}; at += jobs)); do
    some=("${targets[@]:at:jobs}")
    for name in "${some[@]}"; do begin "$name"; done
    for name in "${some[@]}"; do wait_for "$name"; done
    running=()
  done
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}

# libFuzzer writes new inputs to the first directory.
begin() {
  local name=$1
  mkdir -p "$corpus/$name" "fuzz/artifacts/$name" "fuzz/corpus/$name"
  "$CARGO_TARGET_DIR/debug/$name" "$corpus/$name" "fuzz/corpus/$name" \
    -dict=fuzz/ftp.dict -artifact_prefix="fuzz/artifacts/$name/" -max_total_time="$seconds" -timeout="$INPUT_SECONDS" \
    -rss_limit_mb="$MEMORY" -max_len="$INPUT_BYTES" -seed="$seed" -print_final_stats=1 -verbosity=1 >"$logs/$name" 2>&1 &
  echo $! >"$logs/$name.pid"
  running+=($!)
}

wait_for() {
  local name=$1 code=0 runs coverage
  wait "$(cat "$logs/$name.pid")" || code=$?
  runs=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$logs/$name")
  coverage=$(awk '/ cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") seen = $(i + 1) } END { print seen }' "$logs/$name")
  if [ "$code" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
    echo "ok   fuzz: $name: $runs executions in $seconds s, $coverage edges"
    passed=$((passed + 1))
  else
    tail -n 60 "$logs/$name"
    echo "FAIL fuzz: $name: exit code $code after ${runs:-0} executions, see fuzz/artifacts/$name"
    failed=$((failed + 1))
  fi
}

main
