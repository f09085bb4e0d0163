#!/usr/bin/env bash
# Puts libtorch 2.11.0 at .libtorch in the repository root; .cargo/config.toml points every cargo command there.
#
#   LIBTORCH=/path          use the libtorch in that folder
#   LIBTORCH_USE_PYTORCH=1  use the PyTorch that python3 has installed
#   RATIONALE_CUDA=1 | 0    fetch with CUDA, or without; unset: with CUDA where nvidia-smi finds a GPU
#
# Safe to run again, and to interrupt: all work happens in .libtorch.tmp.<pid>, which is renamed at the end.
# Exit codes: 0 done, 1 failed while working (network, disk), 2 something for you to set right.
set -euo pipefail

VERSION=2.11.0
# What the CPU half of the wheel is linked against (its profiler): small, and needed without a GPU too.
CUDA_RUNTIME=nvidia-cuda-runtime==13.0.96
CUDA_CUPTI=nvidia-cuda-cupti==13.0.85

main() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    root=$PWD
    home=$root/.libtorch
    work=$root/.libtorch.tmp.$$
    child=
    check_platform
    sweep
    trap clean EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    if [[ -n ${LIBTORCH:-} && $LIBTORCH != "$home" ]]; then
        link "$LIBTORCH" "LIBTORCH=$LIBTORCH" "unset LIBTORCH to let this script fetch its own, or point it at $VERSION"
    elif [[ ${LIBTORCH_USE_PYTORCH:-0} != 0 ]]; then
        link "$(installed_pytorch)" "the PyTorch of $(interpreter)" \
            "unset LIBTORCH_USE_PYTORCH, or: $(interpreter) -m pip install torch==$VERSION"
    elif good "$home" && { [[ ${RATIONALE_CUDA:-} != 1 ]] || has_cuda "$home"; }; then
        say "$VERSION is in place ($(describe "$home"))"
    elif wants_cuda; then
        fetch_cuda
    else
        fetch_cpu
    fi
}

# --- What there is ---------------------------------------------------------------------------------------------

check_platform() {
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64" | "Linux aarch64" | "Linux arm64") ;;
        *) stop "$(uname -s) on $(uname -m) is not supported yet; Linux on x86_64 or aarch64 is" ;;
    esac
}

# The version that a libtorch folder's headers state, whichever of its releases' layouts they have.
version_of() {
    local headers=() file
    for file in headeronly/version.h csrc/api/include/torch/version.h; do
        if [[ -f $1/include/torch/$file ]]; then headers+=("$1/include/torch/$file"); fi
    done
    if ((${#headers[@]} == 0)); then return; fi
    awk '/^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) / { part[$2] = $3 }
         END { print part["TORCH_VERSION_MAJOR"] "." part["TORCH_VERSION_MINOR"] "." part["TORCH_VERSION_PATCH"] }' \
        "${headers[@]}"
}

good() {
    local file
    for file in libtorch.so libtorch_cpu.so libc10.so; do
        if [[ ! -s $1/lib/$file ]]; then return 1; fi
    done
    [[ "$(version_of "$1")" == "$VERSION" ]]
}

has_cuda() { [[ -s $1/lib/libtorch_cuda.so ]]; }

wants_cuda() {
    case ${RATIONALE_CUDA:-} in
        1) true ;;
        0) false ;;
        *) command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU' ;;
    esac
}

describe() {
    local kind="CPU only"
    if has_cuda "$1"; then kind="with CUDA"; fi
    if [[ -L $1 ]]; then echo "$kind, linked to $(readlink -f "$1")"; else echo "$kind"; fi
}

# The interpreter that torch-sys would ask, too.
interpreter() { if [[ -n ${VIRTUAL_ENV:-} ]]; then echo python; else echo python3; fi; }

installed_pytorch() {
    # Found without importing it: an import takes seconds, and a broken one would hide the version from us.
    "$(interpreter)" -c 'import importlib.util as u, os; s = u.find_spec("torch"); print(os.path.dirname(s.origin) if s else "")'
}

# --- What the user already has ---------------------------------------------------------------------------------

# link FOLDER NAME REMEDY
link() {
    local found
    if [[ -z $1 || ! -d $1 ]]; then stop "$2: there is no libtorch; $3"; fi
    if ! good "$1"; then
        found=$(version_of "$1")
        if [[ -z $found || $found == .. ]]; then
            stop "$2: no libtorch there (looked for include/torch and lib/libtorch.so in $1); $3"
        elif [[ $found == "$VERSION" ]]; then
            stop "$2: libtorch.so, libtorch_cpu.so or libc10.so is missing from $1/lib; $3"
        fi
        stop "$2: this is libtorch $found, and exactly $VERSION is needed; $3"
    fi
    if [[ "$(readlink -f "$1")" == "$(readlink -f "$home")" ]]; then
        say "$VERSION is in place ($(describe "$home"))"
        return
    fi
    check_loads "$1"
    mkdir "$work"
    ln -s "$(cd "$1" && pwd -P)" "$work/new"
    put_in_place "$work/new"
}

# --- What is fetched -------------------------------------------------------------------------------------------

# Of the wheel (which has CUDA in it) only what a machine without a GPU can run: about 0.5 GB.
fetch_cpu() {
    prepare 4 "the CPU build"
    say "fetching $VERSION for the CPU (about 0.6 GB to download; RATIONALE_CUDA=1 fetches CUDA's libraries as well)"
    with_pip download --no-deps --only-binary=:all: --dest "$work/wheels" "torch==$VERSION" "$CUDA_RUNTIME" "$CUDA_CUPTI"
    run python3 - "$work/wheels" "$work/new" <<'PYTHON' || stop_work "the downloaded wheels could not be unpacked"
import pathlib, re, shutil, sys, zipfile

wheels, new = map(pathlib.Path, sys.argv[1:])
gpu_only = re.compile(r"cuda(?!rt)|nvrtc|nvshmem|python|shm|global_deps|libtorch\.so")
for wheel in sorted(wheels.glob("*.whl")):
    archive = zipfile.ZipFile(wheel)
    for name in archive.namelist():
        file = name.rpartition("/")[2]
        if not file:  # a folder's own entry
            continue
        elif name.startswith("torch/include/"):
            target = new / name.removeprefix("torch/")
        elif re.match(r"torch(/lib|\.libs)/[^/]+\.so[.0-9]*$", name) and not gpu_only.search(file):
            target = new / "lib" / file
        elif re.match(r"nvidia/.*/lib(cudart|cupti)\.so\.\d+$", name):
            target = new / "lib" / file
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
PYTHON
    # torch-sys links `torch`; the wheel's own libtorch.so asks for libtorch_cuda.so, so this one stands in for it.
    "${CXX:-c++}" -shared -o "$work/new/lib/libtorch.so" -Wl,-soname,libtorch.so -Wl,--no-as-needed \
        -L"$work/new/lib" -ltorch_cpu -lc10 -Wl,-rpath,"\$ORIGIN" ||
        stop_work "the C++ compiler could not link libtorch.so"
    echo "$VERSION+cpu" >"$work/new/build-version"
    finish
}

# The whole wheel with the NVIDIA libraries it names, laid out as in site-packages: libtorch finds them from there.
fetch_cuda() {
    prepare 12 "the CUDA build"
    warn_of_old_driver
    say "fetching $VERSION with CUDA 13 (about 2.5 GB to download; RATIONALE_CUDA=0 leaves CUDA out)"
    with_pip install --only-binary=:all: --no-compile --target "$work/new/site-packages" "torch==$VERSION"
    # Only the C++ side is used.
    find "$work/new/site-packages" -mindepth 1 -maxdepth 1 ! -name torch ! -name 'torch.libs' ! -name nvidia \
        -exec rm -rf {} +
    find "$work/new/site-packages/torch" -mindepth 1 -maxdepth 1 ! -name include ! -name lib -exec rm -rf {} +
    ln -s site-packages/torch/include "$work/new/include"
    ln -s site-packages/torch/lib "$work/new/lib"
    echo "$VERSION" >"$work/new/build-version"
    if ! has_cuda "$work/new"; then
        say "this machine's wheel has no CUDA in it; for a GPU, set LIBTORCH to a CUDA build of libtorch $VERSION"
    fi
    finish
}

# prepare GIGABYTES WHAT
prepare() {
    local free
    command -v python3 >/dev/null || stop "python3 is needed; on Debian or Ubuntu: apt install python3 python3-pip python3-venv"
    command -v "${CXX:-c++}" >/dev/null || stop "a C++ compiler is needed; on Debian or Ubuntu: apt install g++"
    free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1000000) }')
    if ((free < $1)); then
        stop "$2 needs $1 GB free in $root while it is fetched, and there are $free; free some, or set LIBTORCH to a folder elsewhere"
    fi
    mkdir "$work" "$work/tmp"
    # The interpreter itself: a version manager's shim would be what we stop when interrupted, and pip would go on.
    pip_python=$(python3 -c 'import sys; print(sys.executable)')
    if ! "$pip_python" -m pip --version >/dev/null 2>&1; then
        "$pip_python" -m venv "$work/venv" >/dev/null 2>&1 ||
            stop "python3 has neither pip nor venv; on Debian or Ubuntu: apt install python3-pip python3-venv"
        pip_python=$work/venv/bin/python
    fi
}

# The user's pip settings (index, proxy, cache) hold, but for the two that would forbid a folder of our own. What
# was downloaded in full stays in pip's cache, so a run that was interrupted does not start from nothing.
with_pip() {
    local quiet=(--progress-bar off --quiet)
    if [[ -t 2 ]]; then quiet=(); fi
    TMPDIR=$work/tmp PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        run "$pip_python" -m pip "$@" "${quiet[@]}" >&2 ||
        stop_work "pip could not fetch torch $VERSION for $("$pip_python" --version) (wheels exist for CPython 3.10 to 3.14, glibc 2.28 or later); or set LIBTORCH or LIBTORCH_USE_PYTORCH=1"
}

warn_of_old_driver() {
    local driver
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1) || true
    if [[ $driver =~ ^([0-9]+) ]] && ((BASH_REMATCH[1] < 580)); then
        say "warning: CUDA 13 needs NVIDIA driver 580 or later, this is $driver"
    fi
}

# --- How it gets there -----------------------------------------------------------------------------------------

finish() {
    good "$work/new" || stop_work "what was fetched is not libtorch $VERSION (found '$(version_of "$work/new")')"
    check_loads "$work/new"
    put_in_place "$work/new"
}

# Every library it depends on is found: better said now than by the linker after minutes of compiling.
check_loads() {
    local message
    command -v python3 >/dev/null || return 0
    message=$(python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1/lib/libtorch.so" 2>&1) ||
        stop "libtorch in $1 does not load: ${message##*$'\n'}"
}

put_in_place() {
    if there "$home"; then mv -T "$home" "$work/old"; fi
    mv -T "$1" "$home"
    forget_bindings
    say "$VERSION is ready ($(describe "$home"))"
}

# The bindings may have been compiled against another libtorch, with or without CUDA, and cargo cannot see that.
forget_bindings() {
    local profile target=${CARGO_TARGET_DIR:-target}
    for profile in "$target/debug" "$target/release"; do
        rm -rf "$profile"/.fingerprint/torch-sys-* "$profile"/build/torch-sys-*
    done
}

# A link that leads nowhere is there too.
there() { [[ -e $1 || -L $1 ]]; }

# What a killed run could not clear away itself.
sweep() {
    local old
    for old in "$home".tmp.*; do
        if [[ -d $old ]] && ! kill -0 "${old##*.}" 2>/dev/null; then rm -rf "$old"; fi
    done
}

clean() {
    if [[ -n $child ]]; then kill "$child" 2>/dev/null && wait "$child" 2>/dev/null || true; fi
    if there "$work/old" && ! there "$home"; then mv -T "$work/old" "$home"; fi
    rm -rf "$work"
}

# In the background and waited for: bash runs a trap only between commands, and pip takes minutes.
run() {
    local status=0
    "$@" <&0 &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}

say() { echo "libtorch: $*"; }
stop() { echo "libtorch: $*" >&2; exit 2; }
stop_work() { echo "libtorch: $*; nothing was changed" >&2; exit 1; }

main "$@"
