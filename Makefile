# Each target sets up what it needs by itself: a Python >= 3.11 is enough. See tools/bootstrap.sh.
# In the shell of `nix develop` (nix/dev-shell.nix) there is nothing to set up: it names its own Python.

PACKAGE := pkgs/nakamura-misaki
PY := $(or $(DEVELOPMENT_PYTHON),$(PACKAGE)/.venv/bin/python)
WORKERS ?= 2
EXAMPLES ?= 5000

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-search bench-search-scale bench-service fuzz format clean environment-demo environment-dev
# Two targets named at once share the environment, and their output is read in order.
.NOTPARALLEL:

unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

help: ## show this list
	@echo "make TARGET, with ARGS='...' passed on:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST))

demo: environment-demo ## start an embedded PostgreSQL, import a team's old notes, ask three questions
	@$(PY) -m nakamura_misaki demo $(ARGS)

test: environment-dev ## run every test with coverage, or those that ARGS picks (ARGS='-k task')
ifeq ($(strip $(ARGS)),)
	@$(PY) -m pytest -n $(WORKERS) --cov --cov-config=$(PACKAGE)/pyproject.toml --cov-fail-under=90
else
	@$(PY) -m pytest $(ARGS)
endif

check: environment-dev ## formatting, lint, types, which layer may import which, and the Nix files
	@$(PY) -m ruff format --check --quiet
	@$(PY) -m ruff check --quiet
	@cd $(PACKAGE) && $(or $(DEVELOPMENT_PYTHON),.venv/bin/python) -m mypy --no-error-summary
	@$(PY) -m pytest -q tests/unit/test_architecture.py
	@sh tools/check-nix.sh

bench-search: environment-dev ## measure search quality on the golden set beside BM25, ILIKE and others
	@$(PY) tests/performance/bench_golden.py $(ARGS)

bench-search-scale: environment-dev ## measure what a search costs from 1,000 to 200,000 notes, and by which plan
	@$(PY) tests/performance/bench_search_scale.py $(ARGS)

bench: environment-dev ## measure against the baselines
	@$(PY) tests/performance/bench.py $(ARGS)

bench-service: environment-dev ## measure the service under load, and restart its database meanwhile
	@$(PY) tests/performance/bench_service.py $(ARGS)

fuzz: environment-dev ## try the API with EXAMPLES (5000) requests made of its own document
	@FUZZ_EXAMPLES=$(EXAMPLES) $(PY) -m pytest -q -s tests/integration/test_api_fuzz.py $(ARGS)

format: environment-dev ## rewrite the code as `make check` wants it
	@$(PY) -m ruff check --fix --quiet
	@$(PY) -m ruff format --quiet
	@sh tools/check-nix.sh format

clean: ## remove what these targets made (no database is touched)
	rm -rf $(PACKAGE)/.venv .tools .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* bench-results
	rm -rf $(PACKAGE)/.mypy_cache $(PACKAGE)/.ruff_cache $(PACKAGE)/dist
	find $(PACKAGE) tests -name __pycache__ -type d -prune -exec rm -rf {} +

environment-demo environment-dev: environment-%:
	@[ -n "$(DEVELOPMENT_PYTHON)" ] || sh tools/bootstrap.sh $*
