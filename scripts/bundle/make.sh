#!/usr/bin/env bash
# make.sh BINARY FOLDER: one folder FOLDER/rationale-VERSION, and the same as .tar.gz, that runs wherever libtorch 2.11 is: the
# program, stripped, the library of NCCL where it lies beside BINARY (scripts/nccl.sh), its launcher, recipes, scripts and docs,
# licences. Exit code 1 where what came out is not what it should be.
set -euo pipefail

# Megabytes that the program may have.
MOST=40

binary=$(realpath "$1")
work=
mkdir -p "$2"
target=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

main() {
    local version name
    version=$(awk -F '"' '/^version = /{ print $2; exit }' Cargo.toml)
    name=rationale-$version
    work=$target/.$name.$$
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/$name/bin"
    fill "$work/$name"
    check "$work/$name/bin/train"
    # Sorted, owned by nobody and of one time, so that the same build packs to the same bytes.
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - "$name" | gzip -n >"$work/$name.tar.gz"
    rm -rf "${target:?}/$name"
    mv "$work/$name" "$work/$name.tar.gz" "$target"
    [[ -f $target/$name/bin/librationale_nccl.so ]] || echo "bundle: without NCCL, which make nccl compiles beside the program"
    echo "bundle: $target/$name ($(du -sm "$target/$name" | cut -f 1) MB), $target/$name.tar.gz ($(megabytes "$target/$name.tar.gz") MB)"
}

fill() {
    strip -o "$1/bin/train" "$binary"
    if [[ -f ${binary%/*}/librationale_nccl.so ]]; then cp "${binary%/*}/librationale_nccl.so" "$1/bin"; fi
    cp scripts/bundle/train "$1/train"
    sed "s/@GLIBC@/$(newest GLIBC)/; s/@MACHINE@/$(uname -m)/" scripts/bundle/README.md >"$1/README.md"
    cp -r recipes docs CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$1"
    # What is for whoever builds stays behind.
    mkdir "$1/scripts"
    find scripts -mindepth 1 -maxdepth 1 ! -name bundle ! -name site ! -name setup-libtorch.sh ! -name nccl.sh -exec cp -r {} "$1/scripts" \;
    rmdir --ignore-fail-on-non-empty "$1/scripts"
    python3 scripts/bundle/licences.py >"$1/LICENSES-OF-DEPENDENCIES"
}

check() {
    local size linked
    size=$(megabytes "$1")
    ((size < MOST)) || stop "the program has $size MB, and is to have less than $MOST"
    linked=$(objdump -p "$1" | awk '$1 == "NEEDED" && /torch_cuda|c10_cuda|libtorch\.so|libcu/ { print $2 }')
    [[ -z $linked ]] || stop "the program is linked against $linked, which a libtorch for CPUs has not"
}

# The newest version of a library's symbols that the program needs.
newest() { objdump -T "$binary" | grep -o "\b$1_[0-9.]*" | sort -uV | tail -n 1 | sed 's/.*_//'; }

megabytes() { echo $(($(stat -c %s "$1") / 1000000)); }

stop() { echo "bundle: $*" >&2; exit 1; }

main
