# The commands of daily work. `just` alone lists them; each also works when typed without just.

_list:
    @just --list --unsorted

# Format, lint and compile: the quick check before a commit
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets --locked -- -D warnings

# All tests, or those whose name contains FILTER
test *FILTER:
    cargo test --workspace --locked -- {{ FILTER }}

# A server on 127.0.0.1:2121 with an embedded store; login demo, password demo
demo *OPTIONS:
    cargo run --release --locked -- demo {{ OPTIONS }}

# Each fuzz target, or the named ones, for SECONDS
fuzz SECONDS="60" *TARGETS:
    ci/fuzz.sh {{ SECONDS }} {{ TARGETS }}

# The benchmark: `just bench --quick`; benches/README.md has the options
bench *OPTIONS:
    cargo bench --bench transfer -- {{ OPTIONS }}

# Stages of the whole test: `just ci clippy test`; without a name all default ones
ci *STAGES:
    .ci/run {{ STAGES }}
