# Everything a developer or CI does, one target each. `make help` lists them.

PYTHON ?= python3
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
CARGO_DENY_VERSION = 0.20.2
CARGO_FUZZ_VERSION = 0.13.2
# The folder that `make run` serves, and more options: make run ARGS="--port 9000"
MODELS ?= models
ARGS ?=
# The bundled model that answers POST /predict.
DEFAULT_MODEL = $(if $(filter models,$(MODELS)),--default-model iris)

TOOLS = $(CARGO_TARGET_DIR)/tools
WITH_TOOLS = PATH="$(abspath $(TOOLS))/bin:$$PATH"
# Cheap checks first; later stages reuse what earlier ones built.
CI_STAGES ?= lint docs manifests prometheus-test workflows-lint test peers deny bench-compile fuzz-compile

.DEFAULT_GOAL := help
.PHONY: help run test clients fetch build install fmt fmt-check lint docs deny bench bench-compile peers ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: fetch ## Serve ./models with a release build (MODELS=dir, ARGS="--port 9000")
	$(CARGO) run --release --locked -- serve $(MODELS) $(DEFAULT_MODEL) $(ARGS)

test: fetch ## Run the unit, integration and documentation tests, and the clients
	$(CARGO) test --locked
	@$(MAKE) --no-print-directory clients
	@echo "test: all tests passed"

clients: ## Test the daemon with other projects' clients (CLIENTS="curl triton" for some of them)
	@PYTHON="$(PYTHON)" CARGO="$(CARGO)" sh tests/clients/run.sh $(CLIENTS)

fetch: ## Fetch ONNX Runtime into .onnxruntime and verify its checksum, unless it is there
	@$(PYTHON) .cargo/fetch-onnxruntime.py

build: fetch ## Build the release binary
	$(CARGO) build --release --locked
	@echo "build: $(CARGO_TARGET_DIR)/release/onnxd"

install: fetch ## Install onnxd into cargo's bin folder
	$(CARGO) install --path . --locked
	@echo "install: onnxd loads $$($(PYTHON) .cargo/fetch-onnxruntime.py --print); keep it, or set ORT_DYLIB_PATH to another"

fmt: ## Format the code
	$(CARGO) fmt

fmt-check:
	$(CARGO) fmt -- --check

lint: fmt-check ## Check the formatting, and Clippy with warnings as errors
	$(CARGO) clippy --all-targets --locked -- -D warnings
	@echo "lint: clean"

docs: ## Build the documentation, public and private, with warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked
	@echo "docs: $(CARGO_TARGET_DIR)/doc/onnxd/index.html"

deny: ## Check the licences, bans and sources of all dependencies
	@$(WITH_TOOLS); \
	if [ "$$(cargo-deny --version 2>/dev/null)" != "cargo-deny $(CARGO_DENY_VERSION)" ]; then \
		$(CARGO) install --locked --version $(CARGO_DENY_VERSION) --root $(TOOLS) cargo-deny; \
	fi
	$(WITH_TOOLS) cargo-deny --locked check licenses bans sources

bench: fetch ## Run the benchmarks: the codec's, then the daemon under load (BENCH_ARGS="--quick")
	$(CARGO) bench --locked
	@$(MAKE) --no-print-directory bench-load

.PHONY: bench-load
bench-load: ## Measure the daemon under load against floors and peers, on one core (BENCH_ARGS="--overload")
	$(PYTHON) benches/load/run.py $(BENCH_ARGS)

.PHONY: endurance
endurance: fetch ## Test endurance: 100,000 mixed requests, large bodies, busy cores (ENDURANCE_ARGS="--cases probes")
	$(CARGO) test --release --locked --test it -- crowd:: lanes:: --nocapture
	$(PYTHON) benches/load/endurance.py $(ENDURANCE_ARGS)

bench-compile: ## Compile the benchmarks
	$(CARGO) bench --no-run --locked
	@echo "bench-compile: the benchmarks compile"

# The fuzz targets, and the seconds for each.
FUZZ_TARGETS ?= grpc_decode mlflow_decode native_decode oip_decode tfs_decode
FUZZ_SECONDS ?= 660
.PHONY: fuzz fuzz-compile

# Sanitizers are nightly options; the variable makes the stable compiler accept them.
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: ## Fuzz the decoders, one after the other (FUZZ_TARGETS="oip_decode", FUZZ_SECONDS=60)
	@$(WITH_TOOLS); \
	if [ "$$(cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $(CARGO_FUZZ_VERSION)" ]; then \
		$(CARGO) install --locked --version $(CARGO_FUZZ_VERSION) --root $(TOOLS) cargo-fuzz; \
	fi; \
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		cargo-fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 || exit 1; \
	done

# For how many seconds `make hostile` attacks.
HOSTILE_SECONDS ?= 1200
.PHONY: hostile
hostile: build ## Attack a server over all protocols beside a client whose answers must stay right (HOSTILE_SECONDS=60)
	$(PYTHON) -m venv $(CARGO_TARGET_DIR)/hostile-venv
	$(CARGO_TARGET_DIR)/hostile-venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/hostile/requirements.txt
	$(CARGO_TARGET_DIR)/hostile-venv/bin/python tests/hostile/run.py --binary $(CARGO_TARGET_DIR)/release/onnxd --seconds $(HOSTILE_SECONDS)

.PHONY: fuzz-operators
fuzz-operators: ## Search ONNX Runtime for operators that crash; writes fuzz/operators/crashers.txt (half an hour)
	$(PYTHON) -m venv $(CARGO_TARGET_DIR)/operators-venv
	$(CARGO_TARGET_DIR)/operators-venv/bin/python -m pip install --quiet --disable-pip-version-check -r fuzz/operators/requirements.txt
	$(CARGO_TARGET_DIR)/operators-venv/bin/python fuzz/operators/search.py > $(CARGO_TARGET_DIR)/crashers.txt
	mv $(CARGO_TARGET_DIR)/crashers.txt fuzz/operators/crashers.txt

fuzz-compile: ## Check the fuzz targets' formatting and Clippy, without sanitizers
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml -- --check
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR) --locked -- -D warnings
	@echo "fuzz-compile: the fuzz targets compile"

peers: ## Test the daemon with promtool and a real browser
	@PYTHON="$(PYTHON)" CARGO="$(CARGO)" sh tests/peers/run.sh

.PHONY: perf-analyzer
perf-analyzer: ## Measure the daemon with Triton's perf_analyzer over REST, gRPC and streams
	@PYTHON="$(PYTHON)" CARGO="$(CARGO)" sh tests/peers/perf_analyzer.sh

# Tests of what is shipped. The first three need a container engine; without one running, they start their own.
IMAGE ?= onnxd:latest
.PHONY: image image-test compose-test k8s-test kind-test load-test manifests prometheus-test workflows-lint workflows-test

image: ## Build the container image (IMAGE=name:tag)
	@sh tests/deploy/image/build.sh $(IMAGE)

image-test: ## Run the image with few rights: predictions, limits, health, shutdown
	@PYTHON="$(PYTHON)" sh tests/deploy/image/check.sh $(IMAGE)

compose-test: ## Start docker-compose.yml: run every dashboard query, fire an alert
	@PYTHON="$(PYTHON)" sh tests/deploy/compose/check.sh

k8s-test: ## Deploy to a real one-node cluster: rollouts, drain, memory, a broken model
	@PYTHON="$(PYTHON)" sh tests/deploy/cluster/check.sh $(IMAGE)

kind-test: ## Deploy to a kind cluster; kind must be installed
	@sh tests/deploy/cluster/kind.sh $(IMAGE)

load-test: ## Run the k6 and Locust scripts of benches/load for a few seconds
	@PYTHON="$(PYTHON)" CARGO="$(CARGO)" sh tests/deploy/load/check.sh

manifests: ## Validate k8s/ against the schemas of Kubernetes, the Prometheus operator and KServe
	@PYTHON="$(PYTHON)" sh tests/deploy/manifests/check.sh

prometheus-test: ## Test prometheus.yml, every rule, and the dashboard
	@PYTHON="$(PYTHON)" sh tests/deploy/prometheus/check.sh

workflows-lint: ## Lint the workflows
	@PYTHON="$(PYTHON)" sh tests/deploy/workflows/lint.sh

workflows-test: workflows-lint ## Rehearse CI and a release with act; needs root (CI_STAGES="lint test" for more of make ci)
	@PYTHON="$(PYTHON)" sh tests/deploy/workflows/run.sh $(IMAGE)

ci: ## Run everything that a change must pass
	@took=; \
	for stage in $(CI_STAGES); do \
		printf '\n==> make %s\n' "$$stage"; \
		started=$$(date +%s); \
		$(MAKE) --no-print-directory "$$stage" || { echo "ci: make $$stage failed" >&2; exit 1; }; \
		took="$$took$${took:+, }$$stage $$(($$(date +%s) - started)) s"; \
	done; \
	printf '\nci: passed (%s)\n' "$$took"

clean: ## Remove everything that these targets built
	$(CARGO) clean
	rm -rf .onnxruntime
