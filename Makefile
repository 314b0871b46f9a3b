# `make demo` and `make test` do all their set-up themselves, in .venv, and do nothing twice: a stamp in the environment is as
# new as pyproject.toml once everything is installed. Variables, on the command line or in the environment:
#
#   PYTHON  the interpreter that makes .venv (3.11 or newer)
#   VENV    an environment that stands already, used instead of .venv; it is not created, only installed into
#   TORCH   what to `pip install` before all else, to choose torch's build. For a computer without a GPU:
#           TORCH='torch torchvision --index-url <the line for CPU on https://pytorch.org/get-started/locally>'

PYTHON ?= python3
VENV ?=
TORCH ?=

ENV := $(if $(VENV),$(VENV),.venv)
BIN := $(ENV)/bin
INSTALLED := $(ENV)/.gradscope-installed
TESTABLE := $(ENV)/.gradscope-testable

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types imports pytest screenshots clean

help:  ## list the targets and the variables
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 13
	@sed -n 's/^#   \(.*\)/\1/p' Makefile

demo: $(INSTALLED)  ## install, then diagnose a network that does not learn
	$(BIN)/gradscope diagnose recipes/sigmoid_relu.yaml

test: lint types imports pytest  ## install, then run every check: lint, types, imports, pytest

lint: $(TESTABLE)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TESTABLE)  ## mypy
	$(BIN)/mypy

imports: $(TESTABLE)  ## import-linter: imports point one way
	$(BIN)/lint-imports

pytest: $(TESTABLE)  ## tests and doctests
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4

screenshots: $(TESTABLE)  ## take the README's pictures of the tab in TensorBoard anew (needs a Chromium)
	rm -rf build/screenshots
	$(BIN)/gradscope diagnose recipes/sigmoid_relu.yaml --quiet --out build/screenshots
	$(BIN)/python scripts/make_screenshots.py build/screenshots/sigmoid_relu/* docs

clean:  ## remove .venv, builds and caches; runs/ stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find gradscope tests -name __pycache__ -type d -prune -exec rm -rf {} +
	$(if $(VENV),rm -f $(INSTALLED) $(TESTABLE))

$(TESTABLE): $(INSTALLED)
	$(BIN)/python -m pip install --group pyproject.toml:test
	@touch $@

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --upgrade 'pip>=25.1'  # the first that knows --group
	$(if $(TORCH),$(BIN)/python -m pip install $(TORCH))
	$(BIN)/python -m pip install --editable .
	@touch $@

$(BIN)/python:
ifeq ($(VENV),)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gradscope needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv --clear $(ENV) || { rm -rf $(ENV); exit 1; }
else
	@echo "VENV=$(VENV): expected an environment with bin/python; leave VENV out to have one made in .venv" >&2; exit 1
endif
