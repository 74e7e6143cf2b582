# `make` alone lists what there is. Everything runs in .venv, which `make setup` makes and the others make sure of.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser
ARGS ?=
# Tests wait more than they work, so two processes of them fill two cores with the homeservers that they start.
WORKERS ?= 2

.PHONY: help
help:  ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="…" is passed on: make test ARGS="tests/unit -x", make demo ARGS=--stay'

$(READY): pyproject.toml scripts/setup.sh tests/clients/js/package-lock.json
	@scripts/setup.sh

$(BROWSER): $(READY)
	@scripts/setup.sh browser

.PHONY: setup
setup: $(READY)  ## Install what is needed; does nothing when nothing changed

.PHONY: demo
demo: $(READY)  ## Run the main job on a private homeserver, with members whose clients encrypt
	@$(BIN)/matrix-communities demo $(ARGS)

.PHONY: run
run: $(READY)  ## Run the service with ./config.yaml
	@$(BIN)/matrix-communities run $(ARGS)

.PHONY: test
test: $(READY) $(BROWSER)  ## Run the tests
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: soak
soak: $(READY) $(BROWSER)  ## Run the long tests: many seeded rounds of faults
	$(BIN)/pytest -m soak --timeout 7200 $(ARGS)

.PHONY: check
check: $(READY)  ## Lint, formatting, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(READY)  ## Format the code, and mend what can be mended by itself
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(READY)  ## Measure: each benchmark prints ratios from one run
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: screenshots
screenshots: $(READY) $(BROWSER)  ## Take the pictures of the join page in docs/images anew
	$(BIN)/python -m tests.browser.screenshots

.PHONY: clean
clean:  ## Remove what was built and installed, .venv included
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf tests/clients/js/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
