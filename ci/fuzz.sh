#!/usr/bin/env bash
# Builds all fuzz targets (fuzz/src/bin) and runs each for a while; fails where one finds something.
#
#   ci/fuzz.sh [SECONDS] [TARGET...]      60 s each by default, all targets
#   JOBS=8 ci/fuzz.sh 3600                so many at a time; two by default
#   FUZZ_SEED=0 ci/fuzz.sh 3600           other inputs than last time: 0 is a seed of the clock, 1 the default
#
# Needs the stable toolchain and a C++ compiler, no other tool: libFuzzer comes as source with a crate, and fuzz-rustc.sh
# has the compiler count what it looks at. Inputs that are new are kept in S3FTPD_FUZZ_CORPUS (a directory of the cache
# by default), beside the seeds in fuzz/corpus, so that the next run begins where this one ended; what fails lies in
# fuzz/artifacts. The target directory is FUZZ_TARGET_DIR, of its own: everything is built in another way.
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

# Bounds of one process: memory in MiB, seconds for one input, bytes of one input.
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

# The first directory is where libFuzzer writes what is new.
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
