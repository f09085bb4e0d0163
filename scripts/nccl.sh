#!/usr/bin/env bash
# nccl.sh FOLDER: compiles csrc/nccl into FOLDER/librationale_nccl.so, which `train` loads where it lies beside it. No GPU is needed
# for that, nor libtorch with CUDA: headers alone are, of which those that libtorch does not have are fetched once with pip into
# target/nccl (about 200 MB to download, most of it NCCL's library, and 60 MB kept).
#
#   NCCL_INCLUDE=/path   the folder of nccl.h, in place of the wheel's
#   CUDA_INCLUDE=/path   the folder of cuda_runtime.h, such as /usr/local/cuda/include, in place of the wheels'
#
# Exit codes: 0 done, 1 failed while working, 2 something for you to set right.
set -euo pipefail

# Those that libtorch 2.11 is compiled with: an NCCL of another release may have other structures in its header.
NCCL=nvidia-nccl-cu13==2.28.9
CUDA=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)

[[ $# == 1 ]] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
target=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kept=$PWD/target/nccl
work=

main() {
    local nccl cuda
    [[ -f .libtorch/include/torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp ]] ||
        stop "there is no libtorch in .libtorch; make setup puts it there" 2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    nccl=${NCCL_INCLUDE:-.libtorch/site-packages/nvidia/nccl/include}
    [[ -n ${NCCL_INCLUDE:-} || -f $nccl/nccl.h ]] || nccl=$(headers nvidia/nccl/include nccl.h "$NCCL")
    # Not those beside libtorch, which are not all that are included.
    cuda=${CUDA_INCLUDE:-$(headers nvidia/cu13/include cuda_runtime.h "${CUDA[@]}")}
    [[ -f $nccl/nccl.h ]] || stop "there is no nccl.h in $nccl" 2
    [[ -f $cuda/cuda_runtime.h ]] || stop "there is no cuda_runtime.h in $cuda" 2
    # What stands in for the libraries whose symbols libtorch's CUDA half has: the loader finds that half by its name, loaded already.
    for library in torch_cuda c10_cuda; do
        "${CXX:-c++}" -shared -x c++ /dev/null -o "$work/lib$library.so" -Wl,-soname,"lib$library.so"
    done
    "${CXX:-c++}" -std=c++17 -O1 -fPIC -shared -w -D_GLIBCXX_USE_CXX11_ABI="${LIBTORCH_CXX11_ABI:-1}" \
        -I csrc/cuda -I .libtorch/include -I .libtorch/include/torch/csrc/api/include -I "$nccl" -I "$cuda" \
        csrc/nccl/nccl.cpp -o "$work/librationale_nccl.so" \
        -Wl,--no-as-needed -L "$work" -ltorch_cuda -lc10_cuda || stop "the C++ compiler could not make it" 1
    strip "$work/librationale_nccl.so"
    mv "$work/librationale_nccl.so" "$target/librationale_nccl.so"
    echo "nccl: $target/librationale_nccl.so, compiled with the headers of NCCL $(release "$nccl/nccl.h")"
}

# headers FOLDER FILE WHEELS...: the FOLDER of the wheels, which holds FILE, fetched where it is not kept yet.
headers() {
    local place=$kept/$1
    if [[ ! -f $place/$2 ]]; then
        echo "nccl: fetching headers: ${*:3}" >&2
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "${@:3}" >&2 ||
            stop "pip could not fetch ${*:3}; NCCL_INCLUDE and CUDA_INCLUDE name folders of your own" 1
        python3 - "$work" "$work/headers" <<'PYTHON' || stop "the downloaded wheels could not be unpacked" 1
import pathlib, sys, zipfile

for wheel in pathlib.Path(sys.argv[1]).glob("*.whl"):
    archive = zipfile.ZipFile(wheel)
    archive.extractall(sys.argv[2], [name for name in archive.namelist() if "/include/" in name])
    wheel.unlink()
PYTHON
        mkdir -p "$(dirname "$place")"
        rm -rf "$place"
        mv "$work/headers/$1" "$place"
    fi
    echo "$place"
}

release() { awk '/^#define NCCL_(MAJOR|MINOR|PATCH) / { part[$2] = $3 } END { print part["NCCL_MAJOR"] "." part["NCCL_MINOR"] "." part["NCCL_PATCH"] }' "$1"; }

stop() { echo "nccl: $1" >&2; exit "$2"; }

main
