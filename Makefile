# Every target does its own set-up: a fresh machine needs Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check kserve-client fmt clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextvec needs Python >= 3.11: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[export,loadtest,dev]'
	@touch $@

demo: setup
	$(BIN)/nextvec demo

test: check
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# A client of /v2 for one of the tests, which is skipped without it. Apart, because it
# pins an older protobuf and python-dateutil than this project; some 450 MB.
kserve-client:
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/pip install --disable-pip-version-check -q kserve==0.21.0

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-kserve build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis out models
