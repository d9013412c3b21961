.DEFAULT_GOAL := help
.PHONY: help demo test fast bench chaos fuzz lint types docs audit fmt lock clean

PYTHON ?= python3
KILLS ?= 40
PORTFOLIOS ?= 200
SEED ?= 1
COUNT ?= 10000
WHAT ?= all
SECONDS ?= 1800
STORE ?= sqlite
SLICE ?= 1
BIN := .venv/bin
ARGS ?=

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/runtime.stamp ## rebalance a sample book on the embedded stack; ARGS='--portfolios 200 --json' and so on
	@$(BIN)/trimtab demo $(ARGS)

test: .venv/dev.stamp ## every test, with branch coverage and its floor; ARGS go to pytest
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term $(ARGS)

fast: .venv/dev.stamp ## unit and property tests: no server, no process
	$(BIN)/python -m pytest tests/unit tests/property $(ARGS)

chaos: .venv/dev.stamp ## kill everything at random; KILLS=300 PORTFOLIOS=1000 SEED=1 SECONDS=1800 STORE=sqlite|mongodb|URL SLICE=8
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --portfolios $(PORTFOLIOS) --seed $(SEED) --seconds $(SECONDS) --store '$(STORE)' --slice $(SLICE) $(ARGS)

fuzz: .venv/dev.stamp ## solve random portfolios over all policies and hold each against the rules; COUNT=10000 SEED=1
	@$(BIN)/python -m tests.fuzz --count $(COUNT) --seed $(SEED) --processes 2 $(ARGS)

lint: .venv/dev.stamp ## style, imports between layers, dependencies and their licences, spelling, image, compose files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/compose.keys.yml
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m tests.audit --offline

types: .venv/dev.stamp ## mypy, strict
	$(BIN)/mypy

docs: .venv/dev.stamp ## the site into build/docs; any warning fails it
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going --jobs 2 docs build/docs

audit: .venv/dev.stamp ## known vulnerabilities of what is shipped (needs the network), hashes, licences
	$(BIN)/python -m tests.audit

fmt: .venv/dev.stamp ## rewrite formatting and what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/runtime.stamp ## measure this machine into build/bench.json; fails when a goal is missed; WHAT=solve for one suite
	@$(BIN)/trimtab bench $(WHAT) --json build/bench.json $(ARGS)

lock: ## resolve requirements/*.txt anew (needs uv); the files hold hashes and no address
	uv pip compile pyproject.toml --universal --generate-hashes --no-header --extra embedded --extra tracing --group build -o requirements/runtime.txt
	uv pip compile pyproject.toml --universal --generate-hashes --no-header --extra embedded --extra plot --extra tracing --group dev -c requirements/runtime.txt -o requirements/dev.txt

clean: ## remove what building and testing left
	rm -rf .venv build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Trimtab needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# The lists are whole, so nothing is left to resolve: --no-deps, because pip's resolver takes the newest of a package
# that another asks for with an extra before it looks at the pin, and refuses it for having no hash.
.venv/runtime.stamp: .venv/bin/python requirements/runtime.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements/dev.txt
	$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@touch $@
