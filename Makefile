# The index of commands. `make jam` and `make test` do all the set-up that a fresh Debian or Ubuntu machine needs.

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(PATH)

EXAMPLE ?= funk
OUT ?= out/$(EXAMPLE)
MODEL ?= models/house
# Where tests report that they were skipped.
SKIPS := $(CURDIR)/target/skips
# The interpreter with python-osc is the one of `make python`.
TEST_ENV := SIDEMAN_SKIPS=$(SKIPS) SIDEMAN_PYTHON=$(CURDIR)/.venv-test/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup jam test fmt lint unit link python test-train bench clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

setup: ## install what building needs: a C compiler, and Rust where there is none
	@scripts/setup.sh

jam: setup ## build, and play drums and other to examples/$(EXAMPLE).flac
	cargo build --release -p sideman
	target/release/sideman render --bass examples/$(EXAMPLE).flac --make drums,other --out $(OUT) --model $(MODEL)
	@echo "The band is in $(CURDIR)/$(OUT): listen to mix.wav."

test: setup fmt lint python unit ## everything that has to pass

fmt: ## is the code formatted?
	cargo fmt --all --check

lint: ## clippy, warnings denied
	cargo clippy --workspace --all-targets -- -D warnings

unit: ## the tests of the workspace (by nextest where it is installed), and which of them were skipped
	@mkdir -p target && rm -f $(SKIPS)
	@if command -v cargo-nextest >/dev/null 2>&1; then \
		echo "cargo nextest run --workspace --no-fail-fast && cargo test --workspace --doc"; \
		$(TEST_ENV) cargo nextest run --workspace --no-fail-fast && cargo test --workspace --doc; \
	else \
		echo "cargo test --workspace"; \
		$(TEST_ENV) cargo test --workspace; \
	fi
	@scripts/skips.sh $(SKIPS)

link: ## the tests of Ableton Link, which is GPL and in no build unless asked for (needs cmake, g++, libclang-dev)
	cargo test -p sideman-tests --features link --test all io_link

python: ## the Python tests of train/ that need no torch
	@scripts/python-tests.sh

test-train: ## all Python tests of train/ (installs PyTorch into .venv-train/)
	@scripts/python-tests.sh --torch

bench: ## speeds: see docs and sideman-bench --help
	cargo run --release -p sideman-bench -- --help

clean: ## remove what was built and rendered
	cargo clean
	rm -rf out
