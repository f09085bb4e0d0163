# One profile throughout, release: dependencies are compiled once for every target here.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build quickstart test slow-test fuzz faults check bench nccl bundle selftest site
# Steps share one build folder, and their order is the order to read them in.
.NOTPARALLEL:

# .cargo/config.toml says where libtorch is; torch-sys would let this variable override it.
cargo := env -u LIBTORCH_USE_PYTORCH cargo
# Tests run side by side already; libtorch's own threads on top of them only wait for each other.
test := OMP_NUM_THREADS=1 $(cargo) test --release
# In the gate a skipped test is a failed one, but for those that this file names.
gate := RATIONALE_SKIPS=tests/skips.txt

# The program of a user's own that a recipe names; another stands in for it where recipes are only looked at.
yours = $$(case "$$recipe" in recipes/efagen.toml) echo '--set=stage.sample.reward.tests.command=["true"]';; esac)

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## put libtorch 2.11.0 in place (LIBTORCH=…, LIBTORCH_USE_PYTORCH=1 and RATIONALE_CUDA=0|1 are heeded)
	@command -v cargo >/dev/null || { echo "cargo not found: install Rust 1.88 or later, with rustup" >&2; exit 2; }
	@scripts/setup-libtorch.sh

build: setup ## compile target/release/train
	$(cargo) build --release

quickstart: build ## watch a rationale generator learn addition, from nothing, in minutes
	$(cargo) run --release --quiet -- --recipe recipes/quickstart.toml --overwrite

test: setup ## run the tests
	$(test)

slow-test: setup ## run the long tests as well: real learning over several seeds
	$(test) -- --include-ignored

# FUZZ inputs of each kind from number FIRST on; of one kind alone with KIND=fuzz::parquet. What fails lies in target/fuzz.
FUZZ ?= 1000000
FIRST ?= 0
KIND ?= fuzz::
fuzz: setup ## try hostile input: 10^6 mutated recipes, rows, tables, weights, templates, … (FUZZ=, FIRST=, KIND=)
	RATIONALE_FUZZ=$(FUZZ) RATIONALE_FIRST=$(FIRST) $(cargo) test --profile thorough --test it $(KIND) -- --ignored --nocapture

# FAULTS trials of each test from number FIRST on; of one alone with FAULT=faults::kills.
FAULTS ?= 60
FAULT ?= faults::
faults: setup ## kill, starve and damage runs, some hundred times, and compare them bit for bit (FAULTS=, FIRST=, FAULT=)
	RATIONALE_FAULTS=$(FAULTS) RATIONALE_FIRST=$(FIRST) $(test) --test it $(FAULT) -- --include-ignored --nocapture

check: setup ## the gate, as in CI: format, lints, docs, tests, every recipe with --dry-run
	cargo fmt --check
	$(cargo) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(cargo) doc --release --no-deps
	$(gate) $(test)
	@for recipe in recipes/*.toml; do \
		echo "train --recipe $$recipe --dry-run"; \
		$(cargo) run --release --quiet -- --recipe "$$recipe" --dry-run --out target/unused $(yours) >/dev/null || exit 1; \
	done

bench: setup ## measure: decoding, a training step, the pure mathematics
	$(cargo) bench

nccl: setup ## compile the library through which ranks on GPUs speak, into target/release (headers are fetched; no GPU is needed)
	scripts/nccl.sh target/release

bundle: build ## one folder and archive in target/bundle that runs wherever libtorch 2.11 is
	scripts/bundle/make.sh target/release/train target/bundle

site: ## the pages of docs/ as a site in target/site, by mdBook (of the PATH, or compiled into target/mdbook once)
	python3 scripts/site/make.py

selftest: build ## is all well on this machine? a line a check, on its GPU where it has one
	$(cargo) run --release --quiet -- selftest
