# Every target does its own set-up: a fresh machine needs Python >= 3.11 and make.
PYTHON ?= python3
# Optional dependencies of pyproject.toml. CI adds `browser`.
EXTRAS ?= export,loadtest,dev
# Test processes: one a core.
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-fast check kserve-client fmt clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextvec needs Python >= 3.11: make PYTHON=/path/to/python3.11")'
	@echo "Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing nextvec with the extras $(EXTRAS); the first time this downloads about 1 GB"
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: setup
	$(BIN)/nextvec demo

# Formatting, lint, types, rules of imports.
check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Every test, in parallel.
test: check
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# The tests that take less than about a second each.
test-fast: setup
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not end_to_end'

# An environment for KServe's client, which pins an older protobuf and python-dateutil
# than this project; some 450 MB. Without it one test is skipped.
kserve-client: .venv-kserve/.installed

.venv-kserve/.installed: tests/end_to_end/kserve-constraints.txt
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip install --disable-pip-version-check -c $< kserve
	@touch $@

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-kserve build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis out models
