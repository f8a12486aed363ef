# Every target does its own set-up; a second run finds it done.
SETUP := @sh nfvportal/supervise/setup.sh
PYTHON := .venv/bin/python
# Two processes share what may run side by side; then what needs the machine for itself. Both parts run
# whatever the other says.
SUITE := first=0; $(PYTHON) -m pytest -m "not machine" -n 2 --dist loadscope --no-loadscope-reorder || first=$$?; \
	$(PYTHON) -m pytest -m machine && exit $$first
# Without kept bytecode each of the hundreds of processes that tests start would compile our sources again.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE VIRTUAL_ENV DJANGO_SETTINGS_MODULE
.PHONY: help setup run test check bench paper lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+: .*##' Makefile | sed -e 's/: .*## /\t/' | expand -t 10

setup: ## virtual environment, front-end files, system packages
	$(SETUP) run

run: ## start the portal with its live lab (PORT=8000; Ctrl-C stops it)
	$(SETUP) run
	@exec $(PYTHON) manage.py up

test: ## run every test
	$(SETUP) test
	@$(SUITE)

check: ## format, lint, types and import rules, then every test
	$(SETUP) test
	$(PYTHON) -m ruff format --check . && $(PYTHON) -m ruff check . && $(PYTHON) -m mypy && .venv/bin/lint-imports
	@$(SUITE)

bench: ## measure every figure beside its goal
	$(SETUP) test
	@exec $(PYTHON) manage.py bench all

paper: ## claim, paper, peer, ours: the figures of the papers beside ours
	$(SETUP) test
	@exec $(PYTHON) manage.py paper

lock: ## make the hashed locks again from requirements/*.in and package.json
	$(SETUP) lock

clean: ## remove the environment, the front-end files and all data of the portal
	$(SETUP) clean
