# Every target calls the command line, so that people and CI run the same code.
# make turns every failure into its own exit code 2: the last line of a target prints the result of
# its run, and CI calls `squall` itself.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SQUALL := $(BIN)/squall
TELL   := @$(BIN)/python -m squall.harness.cli.make_target $(SQUALL)
TIME   ?= 60s
SEED   ?=
ARGS   ?=
SEEDED := $(if $(SEED),--seed $(SEED))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test coverage test-lowest lint test-partition test-kill test-pause test-clock mutants nightly bench docs clean distclean

help:                ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: $(VENV)/.run-stamp     ## make the virtual environment
setup-dev: $(VENV)/.dev-stamp ## the same, with what the tests need

$(VENV)/.python-stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Squall needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-stamp: $(VENV)/.python-stamp pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[uvloop]'
	@touch $@

$(VENV)/.dev-stamp: $(VENV)/.run-stamp pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[uvloop,dev]'
	@touch $@

$(VENV)/.docs-stamp: $(VENV)/.run-stamp pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

run: setup           ## every fault over five containers, one verdict, one report
	$(TELL) run register --cluster auto --faults all --time $(TIME) $(SEEDED) $(ARGS)

test: setup-dev lint ## every test, those with containers included where a Docker engine answers
	@tests/install-tools
	$(BIN)/pytest -q -m 'not docker'
	$(BIN)/pytest -q -m docker

# Without containers, browsers and clusters of processes: tests that depend on library versions only.
FAST := tests/checkers tests/workloads tests/harness tests/node/raft tests/node/mvcc \
        tests/node/storage tests/node/rpc tests/node/tls tests/reports tests/test_architecture.py
LOWEST := $(VENV)/lowest
test-lowest:         ## the fast tests, with the lowest version of everything that pyproject.toml allows
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python \
	  --resolution lowest-direct --editable '.[uvloop,dev]'
	$(LOWEST)/bin/python -m pytest -q -m 'not docker' $(FAST) --ignore tests/reports/test_report_page.py

coverage: setup-dev  ## branch coverage of the fast tests and the simulation, as text and coverage.json
	$(BIN)/pytest -q -m 'not docker' --cov --cov-report=term:skip-covered --cov-report=json \
	  $(FAST) tests/sim tests/node/replica --ignore tests/reports/test_report_page.py

lint: setup-dev      ## style, types, direction of imports
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache | tail -12

test-partition: setup ## register under partitions
	$(TELL) run register --faults partition --time $(TIME) $(SEEDED) $(ARGS)
test-kill: setup      ## register under kill -9
	$(TELL) run register --faults kill --time $(TIME) $(SEEDED) $(ARGS)
test-pause: setup     ## register under SIGSTOP-like pauses
	$(TELL) run register --faults pause --time $(TIME) $(SEEDED) $(ARGS)
test-clock: setup     ## register under clock jumps, strobes and drift
	$(TELL) run register --faults clock --time $(TIME) $(SEEDED) $(ARGS)

MUTANTS ?= leader-local-read ack-before-fsync quorum-off-by-one no-up-to-date-check
mutants: setup        ## planted bugs of the node: each must end INVALID
	@for name in $(MUTANTS); do tests/mutants/catch $$name || exit 1; done

nightly: setup        ## what the nightly job runs, sequentially
	@status=0; for faults in kill pause partition clock all; do \
	  $(TELL:@%=%) run register --faults $$faults --time 120s --keep $(ARGS) || status=$$?; done; exit $$status

bench: setup-dev      ## benchmarks: the simulator's speed, the checkers compared with others
	$(BIN)/python -m bench.simulator
	$(BIN)/python -m bench.checkers --quick

docs: $(VENV)/.docs-stamp ## the documentation as a site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file .github/mkdocs.yml

clean: setup          ## remove containers, networks and volumes that runs left behind
	$(SQUALL) clean
distclean:            ## and the virtual environment and the store
	-test -x $(SQUALL) && $(SQUALL) clean --all
	rm -rf $(VENV) store .pytest_cache .mypy_cache .ruff_cache .hypothesis
