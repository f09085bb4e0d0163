#!/usr/bin/env bash
# The checks that need an NVIDIA GPU, one line each: ok, fail or skip, the check's name, its figure.
#
# Needs Rust, a C++ compiler, and python3 with PyTorch 2.11.0 for CUDA or a network to fetch libtorch from. Exit codes:
# 0 all passed, 1 a check failed (its log is named), 2 this machine lacks something. RATIONALE_GPU picks the device.
#
# What it runs: tests/it/gpu.rs, whose tests are named gpu_* and print their figure as their last line ("skip: why" skips);
# the quickstart recipe; benches/decode.rs, which decodes on the device in RATIONALE_DEVICE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${RATIONALE_GPU:-cuda:0}
logs=${CARGO_TARGET_DIR:-target}/gpu-check
failed=0

main() {
    need nvidia-smi "no NVIDIA driver here: run this on a machine with an NVIDIA GPU"
    nvidia-smi -L 2>/dev/null | grep -q '^GPU' || missing "nvidia-smi finds no GPU: run this on a machine with one"
    need cargo "cargo not found: install Rust 1.88 or later, with rustup"
    need "${CXX:-c++}" "no C++ compiler: on Debian or Ubuntu, apt install g++"
    mkdir -p "$logs"
    report ok device "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)"

    prefer_installed_pytorch
    check setup last_line env RATIONALE_CUDA=1 scripts/setup-libtorch.sh || exit 1
    unset LIBTORCH_USE_PYTORCH
    check build duration cargo build --release --bins --tests || exit 1
    tests
    check quickstart last_line cargo run --release --quiet -- --recipe recipes/quickstart.toml \
        --set "devices.policy=$device" --out "$logs/quickstart" --overwrite || true
    if [[ -f benches/decode.rs ]]; then
        check decode throughput env RATIONALE_DEVICE="$device" cargo bench --bench decode || true
    else
        report skip decode "there is no benches/decode.rs"
    fi
    if ((failed > 0)); then
        echo "gpu-check: $failed failed"
        exit 1
    fi
    echo "gpu-check: all passed"
}

# Gigabytes not fetched, where python3 has the very version already.
prefer_installed_pytorch() {
    if [[ -n ${LIBTORCH:-} || -s .libtorch/lib/libtorch_cuda.so ]]; then return; fi
    if "$(if [[ -n ${VIRTUAL_ENV:-} ]]; then echo python; else echo python3; fi)" -c '
import sys, torch
sys.exit(not (torch.__version__.startswith("2.11.0") and torch.version.cuda))' 2>/dev/null; then
        export LIBTORCH_USE_PYTORCH=1
    fi
}

# Every test of tests/it/gpu.rs becomes a line of its own.
tests() {
    local log=$logs/tests.log status=0 kind name figure
    if [[ ! -f tests/it/gpu.rs ]]; then
        report skip tests "there is no tests/it/gpu.rs"
        return
    fi
    RATIONALE_DEVICE=$device cargo test --release --test it gpu:: -- --include-ignored --test-threads=1 --show-output \
        >"$log" 2>&1 || status=$?
    while IFS=$'\t' read -r kind name figure; do
        report "$kind" "$name" "$figure"
    done < <(test_lines "$log")
    if ((status != 0 && failed == 0)); then
        report fail tests "ended with status $status before a test failed; see $log"
    fi
}

# libtest's report, as "ok|fail|skip <tab> name <tab> figure": for a passed test its last line of output, for a failed
# one what its panic says.
test_lines() {
    awk '
        { sub(/gpu::/, "") }
        /^test .* \.\.\. (ok|FAILED)$/ { order[++count] = $2; state[$2] = $NF == "ok" ? "ok" : "fail" }
        /^---- .* stdout ----$/ { name = $2; panicked = 0; next }
        /^(successes|failures):$/ { name = "" }
        name == "" || NF == 0 { next }
        state[name] == "ok" { figure[name] = $0; if (/^skip: /) skipped[name] = 1; next }
        panicked == 1 { figure[name] = $0; panicked = 2 }
        /panicked at/ && !panicked { panicked = 1 }
        END {
            for (i = 1; i <= count; i++) {
                name = order[i]
                printf "%s\t%s\t%s\n", (name in skipped) ? "skip" : state[name], name, figure[name]
            }
        }' "$1"
}

# check NAME FIGURE COMMAND…: FIGURE makes the line's figure from the log and the seconds that it took.
check() {
    local name=$1 figure=$2 log=$logs/$1.log started=$SECONDS
    shift 2
    if "$@" >"$log" 2>&1; then
        report ok "$name" "$("$figure" "$log" $((SECONDS - started)))"
    else
        report fail "$name" "$(last_line "$log" $((SECONDS - started))); see $log"
        return 1
    fi
}

duration() { echo "$2 s"; }
last_line() { echo "$2 s: $(awk 'NF { line = $0 } END { print line }' "$1")"; }
throughput() { grep -E 'thrpt:|time:|tokens/s' "$1" | sed 's/  */ /g' | paste -sd ';' - || last_line "$@"; }

report() {
    printf '%-4s  %-32s  %s\n' "$@"
    if [[ $1 == fail ]]; then failed=$((failed + 1)); fi
}

need() { command -v "$1" >/dev/null || missing "$2"; }
missing() { echo "gpu-check: $1" >&2; exit 2; }

main "$@"
