# Everything a contributor runs is a target here, with one line of help.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
NAME ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test browser screenshots coverage fmt types lint migration bench house soak lock

help: ## Show the targets (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Run the main job on simulated trackers, no account needed (ARGS=--exit ends after the summary)
	@$(BIN)/northing demo $(ARGS)

serve: $(VENV)/.runtime ## Serve Northing with the settings of the environment or .env
	@$(BIN)/northing serve $(ARGS)

test: $(VENV)/.dev ## Run every test (ARGS are pytest's)
	@$(if $(ARGS),,$(MAKE) --no-print-directory browser)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist worksteal $(or $(ARGS),-m "not browser")

browser: $(VENV)/.dev ## Show the pages in Chromium, where there is one (ARGS are pytest's)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 -m browser $(ARGS)

screenshots: $(VENV)/.dev ## Take the pictures of the README anew, of the running demo
	@$(BIN)/python -m tests.screenshots $(ARGS)

coverage: $(VENV)/.dev ## Run the tests and print which branches of mappings/ none takes (ARGS are pytest's)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS) --cov

fmt: $(VENV)/.dev ## Format the code, and mend what ruff can mend by itself
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

types: $(VENV)/.dev ## Check the types of code and tests
	@$(BIN)/mypy

lint: types ## Check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

migration: $(VENV)/.dev ## Write the next migration with what the tables' classes changed (NAME=add_reviews)
	@$(BIN)/python -m tests.migration "$(NAME)"

bench: $(VENV)/.dev ## Measure syncs, webhooks and workers against the bare minimum (ARGS="--only intake")
	@$(BIN)/python -m tests.bench $(ARGS)

house: $(VENV)/.dev ## Print how much of the code a stranger has to read
	@$(BIN)/python -m tests.house

soak: $(VENV)/.dev ## Kill servers, workers, PostgreSQL and trackers at random for ten minutes (ARGS="--minutes 60 --seed 7")
	@$(BIN)/python -m tests.soak $(ARGS)

lock: $(VENV)/.dev ## Renew both lock files with the newest versions the bounds allow
	@$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--group build pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Northing needs Python 3.11 or newer; set PYTHON=python3.11 or newer.")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked packages into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the locked test tools into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
