# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHONUNBUFFERED := 1
# Which tests by marker; make test-full empties it.
export MARK ?= not full
# Which integration target; all of them when empty.
export TARGET

# Says what the target does, makes sure that its tools are there, and enters their environment.
describe = printf '== make %s: %s\n' $@ "$$(sed -n 's/^$@:.*\#\# //p' Makefile)"
enter = @$(describe) && tests/tools/setup.sh && . tests/tools/env.sh &&
targets := $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)
.PHONY: $(targets)

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

demo: ## images for hosts without internet, Aurora clusters that stay off, sysctls for pods: told step by step
	$(enter) tests/tools/demo.sh

test: ## everything that a change must pass: lint, unit, integration, molecule, build
	$(enter) python tests/tools/all.py lint unit integration molecule build

test-full: ## everything but the benchmarks: every sweep, the matrix; resumable; writes docs/test-full.md (ONLY=target,...)
	$(enter) python tests/tools/all.py --full --only=$(ONLY) lint unit integration molecule build matrix docs

lint: ## ruff, mypy, ansible-test sanity, ansible-lint, antsibull, galaxy-importer, the rules of the house (ONLY=job)
	$(enter) python tests/tools/lint.py $(ONLY)

unit: ## unit tests (ARGS='-k name' is passed to pytest)
	$(enter) python -m pytest tests/unit -m "$$MARK" $(ARGS)

integration: ## integration tests on the test bed (TARGET=folder for one; ARGS='-k name' is passed to pytest)
	$(enter) tests/tools/integration.sh -m "$$MARK" $(ARGS)

molecule: ## the scenarios in extensions/molecule on the test bed (MARK= for the long ones as well)
	$(enter) python tests/tools/molecule.py

matrix: ## unit and sanity on the oldest and newest ansible-core, and on Python 3.9
	$(enter) python tests/tools/matrix.py

bench: ## benchmarks, as a table (ONLY=name for one of them)
	$(enter) python tests/tools/bench.py $(ONLY)

simulate-year: ## a year of the autostop guard on the test bed's clock, against crons (docs/aurora_autostop.md)
	$(enter) python tests/tools/simulate_year.py

docs: ## the documentation site, from docs/docsite and the modules' own documentation
	$(enter) python tests/tools/docs.py

build: ## build the artefact, install it into an empty path, run a playbook from it
	$(enter) python tests/tools/build.py

testbed-up: ## start the test bed (docs/testbed.md); with CLUSTER=1 an EKS cluster in it
	$(enter) python -m testbed up $(if $(CLUSTER),--cluster)

testbed-down: ## stop the test bed and remove what it left
	$(enter) python -m testbed down

testbed-status: ## what of the test bed runs
	$(enter) python -m testbed status

clean: ## stop the test bed and remove everything that these targets installed
	@$(describe) && tests/tools/clean.sh
