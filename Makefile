# `make` lists the commands. `make jam` and `make test` first install what a new Debian or Ubuntu machine lacks.

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(PATH)

EXAMPLE ?= funk
OUT ?= out/$(EXAMPLE)
# The folder out/ is replaced at each run; one that you name is not.
FORCE := $(if $(filter file,$(origin OUT)),--force)
MODEL ?= models/house
SOAK_MINUTES ?= 30
# The file in which tests report that they were skipped.
SKIPS := $(CURDIR)/target/skips
# The interpreter with python-osc is the one of `make python`.
TEST_ENV := SIDEMAN_SKIPS=$(SKIPS) SIDEMAN_PYTHON=$(CURDIR)/.venv-test/bin/python

.DEFAULT_GOAL := help
.PHONY: deny help setup jam test fmt lint doc unit soak link python test-train bench dist clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

setup: ## install what is missing for building and testing (Debian, Ubuntu)
	@scripts/setup.sh

jam: setup ## build Sideman, and render drums and other for a bass line (EXAMPLE=funk)
	cargo build --release -p sideman
	target/release/sideman render --bass examples/$(EXAMPLE).flac --make drums,other --out $(OUT) --model $(MODEL) $(FORCE)
	@echo "Open $(abspath $(OUT))/index.html in a browser, or listen to mix.wav beside it."

test: setup fmt lint python unit ## run all checks and tests that a change has to pass

fmt: ## check the formatting
	cargo fmt --all --check

lint: ## run clippy; a warning is an error
	cargo clippy --workspace --all-targets -- -D warnings

doc: ## build the documentation of the crates in target/doc; a broken link is an error
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

unit: ## run the Rust tests (with cargo-nextest if it is installed) and list the skipped ones
	@mkdir -p target && rm -f $(SKIPS)
	@if command -v cargo-nextest >/dev/null 2>&1; then \
		echo "cargo nextest run --workspace --no-fail-fast && cargo test --workspace --doc"; \
		$(TEST_ENV) cargo nextest run --workspace --no-fail-fast && cargo test --workspace --doc; \
	else \
		echo "cargo test --workspace"; \
		$(TEST_ENV) cargo test --workspace; \
	fi
	@scripts/skips.sh $(SKIPS)

soak: ## let faults of all kinds happen to live play under JACK for 30 minutes (SOAK_MINUTES=, SOAK_SEED=)
	JACK_DEFAULT_SERVER=soak-server SIDEMAN_SOAK_SECONDS=$$((60 * $(SOAK_MINUTES))) SIDEMAN_SOAK_SEED=$(SOAK_SEED) \
		cargo test -p sideman --test all soak::nothing_is_lost -- --nocapture

link: ## run the tests of Ableton Link, an optional feature under the GPL (needs cmake, g++, libclang-dev)
	cargo test -p sideman-tests --features link --test all io_link

python: ## run the Python tests of train/ that don't need PyTorch
	@scripts/python-tests.sh

deny: ## check licences and bans of the dependencies (cargo install cargo-deny)
	cargo deny check licenses bans sources

test-train: ## run all Python tests of train/ (installs PyTorch into .venv-train/)
	@scripts/python-tests.sh --torch

bench: ## list the benchmarks; results are in docs/measurements/
	cargo run --release -p sideman-bench -- --help

dist: ## make a release archive in dist/ that runs on other Debian or Ubuntu machines without Rust
	@scripts/dist.sh

clean: ## remove target/, out/ and dist/
	cargo clean
	rm -rf out dist
