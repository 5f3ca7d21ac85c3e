# Everything a developer runs. `make` alone lists the targets.

PYTHON ?= python3
MINUTES ?= 120
OUT ?= runs/nano

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup test lint types imports unit torture demo train evaluate render format clean

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the pinned packages (again only when they change)

test: setup ## lint, types, imports and every test: what CI runs
	@$(MAKE) --no-print-directory lint types imports
	@$(BIN)/python -m pytest

lint: setup ## style and likely mistakes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run make format." >&2; exit 1; }

types: setup ## mypy, strict
	@$(BIN)/mypy

imports: setup ## which package may import which
	@$(BIN)/lint-imports --no-logo

unit: setup ## the fast tests only
	@$(BIN)/python -m pytest tests/unit -m "not slow and not torture and not gpu"

torture: setup ## the long campaigns: kill, flood and starve the daemon
	@$(BIN)/python -m pytest tests/torture --campaign=full

demo: setup ## drop sample pictures into a running daemon, draw demo/contact-sheet.png
	@$(BIN)/python -m scripts.demo

train: setup ## train the network: make train MINUTES=120 OUT=runs/nano
	@$(BIN)/python -m inference.training train --out $(OUT) --minutes $(MINUTES)

evaluate: setup ## score the shipped weights, into runs/evaluation/
	@$(BIN)/python -m inference.training evaluate --out runs/evaluation

render: setup ## a sheet of training samples, runs/samples.png
	@mkdir -p runs
	@$(BIN)/python -m inference.training render --out runs/samples.png

format: setup ## put imports, quotes and line breaks in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove what was built, measured or cached; .venv and runs/ stay
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV) (a few minutes the first time: torch is large) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "alphadrop needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package=python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $$package ..."; export DEBIAN_FRONTEND=noninteractive; \
			apt-get -qq update && apt-get -qq install -y "$$package" >/dev/null; \
		else \
			echo "$(PYTHON) has no venv module. On Debian and Ubuntu: sudo apt-get install $$package" >&2; exit 1; \
		fi; }
	@$(PYTHON) -m venv $(VENV)
