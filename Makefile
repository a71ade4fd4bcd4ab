# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHONUNBUFFERED := 1
# Selects tests by marker; make test-full empties it.
export MARK ?= not full
# Selects an integration target; empty selects all.
export TARGET

# Prints what the target does, installs its tools where they are missing, and enters their environment.
describe = printf '== make %s: %s\n' $@ "$$(sed -n 's/^$@:.*\#\# //p' Makefile)"
enter = @$(describe) && tests/tools/setup.sh && . tests/tools/env.sh &&
targets := $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)
.PHONY: $(targets)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

demo: ## show each capability step by step on the test bed
	$(enter) tests/tools/demo.sh

test: ## run everything that a change must pass: lint, unit, integration, molecule, build
	$(enter) python tests/tools/all.py lint unit integration molecule build

test-full: ## run all tests but the benchmarks, every sweep and the matrix included; resumable; writes docs/test-full.md (ONLY=target,...)
	$(enter) python tests/tools/all.py --full --only=$(ONLY) lint unit integration molecule build matrix docs

lint: ## run ruff, mypy, ansible-test sanity, ansible-lint, antsibull, galaxy-importer, tests/house (ONLY=job)
	$(enter) python tests/tools/lint.py $(ONLY)

unit: ## run the unit tests (ARGS='-k name' is passed to pytest)
	$(enter) python -m pytest tests/unit -m "$$MARK" $(ARGS)

integration: ## run the integration tests on the test bed (TARGET=name for a single target; ARGS='-k name' for pytest)
	$(enter) tests/tools/integration.sh -m "$$MARK" $(ARGS)

molecule: ## run the scenarios of extensions/molecule on the test bed (MARK= includes the long ones)
	$(enter) python tests/tools/molecule.py

matrix: ## run unit and sanity on the oldest and newest ansible-core, and on Python 3.9
	$(enter) python tests/tools/matrix.py

bench: ## run the benchmarks and print a table (ONLY=name for a single benchmark)
	$(enter) python tests/tools/bench.py $(ONLY)

drift: ## compare what this code knows of AWS's APIs with the newest botocore (FROM=1.39.0 lists what appeared since)
	$(enter) python tests/tools/drift.py $(if $(FROM),--from=$(FROM))

simulate-year: ## simulate a year of the autostop guard on the test bed's clock, against crons (docs/aurora_autostop.md)
	$(enter) python tests/tools/simulate_year.py

docs: ## build the documentation site from docs/docsite and the modules' own documentation
	$(enter) python tests/tools/docs.py

build: ## build the artifact, install it into an empty path, run a playbook from it
	$(enter) python tests/tools/build.py

testbed-up: ## start the test bed (docs/testbed.md); CLUSTER=1 adds an EKS cluster
	$(enter) python -m testbed up $(if $(CLUSTER),--cluster)

testbed-down: ## stop the test bed and remove what it left
	$(enter) python -m testbed down

testbed-status: ## list the parts of the test bed and whether they run
	$(enter) python -m testbed status

clean: ## stop the test bed and remove everything that these targets installed
	@$(describe) && tests/tools/clean.sh
