# Sets up .venv by itself; needs only Python 3.11 or newer, git and make.
#   make test NUM_WORKERS=4       workers of pytest
#   make demo TORCH_INDEX=URL     a further package index, for example one of CPU builds of torch
#   make test PYTHON=python3.12   the Python that makes .venv

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
NUM_WORKERS ?= 2
PYTHON ?=
TORCH_INDEX ?=

# A driver means a GPU, and a GPU wants the newest torch; otherwise a CPU build is enough.
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && echo yes)
PIP_FLAGS := -qq --retries 10 --disable-pip-version-check
PIP_FLAGS += $(if $(HAS_GPU),,--constraint constraints-cpu.txt)
PIP_FLAGS += $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

MADE := $(VENV)/.stamp-made
INSTALLED := $(VENV)/.stamp-installed
INSTALLED_DEV := $(VENV)/.stamp-installed-dev
INPUTS := pyproject.toml constraints-cpu.txt

.PHONY: help demo test test-slow check lint format types floors install dev clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: export OMP_WAIT_POLICY ?= PASSIVE
demo: $(INSTALLED) ## read a long text with a boxed model and answer questions about it
	@$(BIN)/armt demo

test: $(INSTALLED_DEV) ## run the CPU tests
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(NUM_WORKERS)

test-slow: $(INSTALLED_DEV) ## run the slow tests as well
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(NUM_WORKERS) -m 'not gpu'

check: lint types floors ## lint, types and floors

lint: $(INSTALLED_DEV) ## style, docstrings, names, limits
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED_DEV) ## rewrite the files in the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(INSTALLED_DEV) ## types, strict
	@$(BIN)/basedpyright --level error

floors: $(INSTALLED_DEV) ## who may import whom
	@$(BIN)/lint-imports --no-cache

install: $(INSTALLED) ## set up .venv to run armt

dev: $(INSTALLED_DEV) ## set up .venv to work on armt

clean: ## remove .venv and what tools left
	@rm -rf $(VENV) build dist site .ruff_cache .import_linter_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@bash scripts/make_venv.sh $(VENV) $(PYTHON)
	@touch $@

$(INSTALLED): $(MADE) $(INPUTS)
	@echo "Installing armt into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

$(INSTALLED_DEV): $(MADE) $(INPUTS)
	@echo "Installing armt and its tools into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $(INSTALLED) $@
