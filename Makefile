# Everything a person does with this tree, by name. Each target is also what CI runs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# Where cargo-nextest is installed it runs the tests; plain cargo does otherwise, one heavy test at a time.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
MUSL_TARGET := $(shell uname -m)-unknown-linux-musl

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what Debian 12 lacks (does nothing where all is present)
	@deploy/install-deps

.PHONY: ui
ui: deps ## fetch the player library, pinned by its hash
	@if [ -x deploy/fetch-ui ]; then deploy/fetch-ui; fi

# Through the environment, so that a camera's password stands in no command line of ours.
.PHONY: demo
demo: export CUSTODY_DEMO_CAMERA := $(CAMERA)
demo: ## server, three agents, generated pictures; CAMERA=rtsp://user:pass@host/path records a real one
	@deploy/demo

.PHONY: build
build: deps ui ## optimised binaries; the agent also as one static file where the musl target is installed
	$(CARGO) build --release --locked --workspace --bins
	@if rustup target list --installed 2>/dev/null | grep -qx $(MUSL_TARGET); then \
	  $(CARGO) build --release --locked -p custody-agent --target $(MUSL_TARGET); \
	else echo "static agent: not built, the Rust target $(MUSL_TARGET) is not installed (rustup target add $(MUSL_TARGET))"; fi

.PHONY: fmt
fmt: ## format the sources
	$(CARGO) fmt --all

.PHONY: lint
lint: deps ui
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: test
test: lint ## formatting, lints, all tests, the promises in their short form
	$(CARGO) build --locked --workspace --bins
ifneq ($(NEXTEST),)
	$(CARGO) nextest run --locked --workspace --no-fail-fast
	$(CARGO) test --locked --workspace --doc --quiet
else
	$(CARGO) test --locked --workspace --no-fail-fast
endif

.PHONY: promises
promises: build ## the long checks, one by one; ONLY=name[,name] runs some, ONLY=list lists them
	$(CARGO) run --release --locked -p custody-tests --bin promises -- $(if $(ONLY),$(subst $(comma), ,$(ONLY)))
comma := ,

.PHONY: bench
bench: build ## one table: ours, peer or floor, ratio; written to docs/benchmarks.md
	$(CARGO) build --release --locked --workspace --examples
	$(CARGO) run --release --locked -p custody-tests --bin bench

.PHONY: check
check: lint ## lints, and cargo-deny where it is installed
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "cargo-deny is not installed: advisories and licences were not checked (cargo install cargo-deny --locked)"; fi
