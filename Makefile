# Copyright (c) 2026, the groundwork.homelab authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every target sets up what it needs, so each can be the first one. `make help` says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
FLOOR := .venvs/floor/bin

# What `make rehearse` and `make bench` are given.
LAB ?= solo
PLAY ?= bootstrap
ARGS ?=
REPORT ?=
# What `make simulated-proxmox` is given.
LISTEN ?= 127.0.0.1:8006
PASSWORD ?=
CLOCK ?=
# What `make conformance` is given: a person's own Proxmox VE and Talos nodes.
PVE ?=
TALOS ?=
QUICK ?=
# What `make test` gives pytest, such as TESTS=tests/unit; without it all tests but SKIP and those of the real controllers,
# on so many workers (three by default: of two processors, tests that wait leave a part of one idle).
TESTS ?=
SKIP ?=
WORKERS ?=
# These run after all others, alone: they measure times, or replay recordings in their order.
ALONE := tests/conformance tests/acceptance/test_bootstrap.py tests/acceptance/test_cluster.py

# What the tests of the real controllers run, and how one makes network namespaces.
CONTROLLERS := sealed-secrets kubeseal source-controller kustomize-controller helm-controller argocd helm kustomize redis
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),unshare --user --map-root-user --mount)

# Of ARGS, these are the rehearsal's own; all others are ansible-playbook's.
REHEARSAL_ARGS = $(filter --keep --fault=% --time-scale=% --mirror=%,$(ARGS))
PLAYBOOK_ARGS = $(filter-out $(REHEARSAL_ARGS),$(ARGS))

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with everything from PyPI, and the simulated lab's control plane (minutes once, then seconds)
	@python3 scripts/setup.py

.PHONY: setup-floor
setup-floor: setup
	@python3 scripts/setup.py --floor

.PHONY: demo
demo: setup ## Watch an empty Proxmox host become a Ready Talos node, on a simulated lab
	@ANSIBLE_STDOUT_CALLBACK=groundwork.homelab.lab $(BIN)/rehearse run --lab inventories/solo bootstrap

.PHONY: rehearse
rehearse: setup ## Run playbooks on a simulated lab: LAB=solo PLAY="bootstrap bootstrap" [ARGS="--check --diff"] [REPORT=run.json]
	@$(BIN)/rehearse run --lab $(LAB) $(PLAY) $(if $(REPORT),--report $(REPORT)) $(REHEARSAL_ARGS) $(if $(PLAYBOOK_ARGS),-- $(PLAYBOOK_ARGS))

.PHONY: simulated-proxmox
simulated-proxmox: setup ## Serve the simulated Proxmox VE alone: LISTEN=127.0.0.1:8006 PASSWORD=… [CLOCK=2026-11-21T12:00:00Z]
	@test -n "$(PASSWORD)" || { echo "simulated-proxmox: give the password of root@pam: make simulated-proxmox PASSWORD=…" >&2; exit 2; }
	@$(BIN)/rehearse proxmox --listen "$(LISTEN)" --password "$(PASSWORD)" $(if $(CLOCK),--clock "$(CLOCK)")

define tests
$(if $(TESTS),$(1)/python $(if $(WORKERS),scripts/run_tests.py -n $(WORKERS) --dist worksteal,-m pytest) -q $(TESTS),\
$(1)/python scripts/run_tests.py -q -n $(or $(WORKERS),3) --dist worksteal $(addprefix --ignore=,$(ALONE) $(SKIP) tests/controllers) tests && \
$(1)/python -m pytest -q $(filter-out $(SKIP),$(ALONE)))
endef

.PHONY: test
test: lint setup ## Lint, then all tests on the newest versions: [TESTS=tests/unit] [SKIP=tests/acceptance] [WORKERS=3]
	@$(call tests,$(BIN))

.PHONY: test-floor
test-floor: setup-floor ## All tests on the oldest versions: Python 3.11 with ansible-core 2.19
	@$(call tests,$(FLOOR))

.PHONY: lint
lint: setup ## ruff, mypy, yamllint, ansible-lint, ansible-test sanity, documentation and changelog
	@$(BIN)/python scripts/lint.py

.PHONY: molecule
molecule: setup ## The molecule scenario solo, verified by testinfra
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/molecule test -s solo

.PHONY: conformance
conformance: setup ## Let real things judge: [PVE=https://HOST:8006] [TALOS="ADDRESS …"] [QUICK=1: what builds in a minute] [REPORT=docs/conformance.md]
	@PVE="$(PVE)" TALOS="$(TALOS)" QUICK="$(QUICK)" $(BIN)/python tests/conformance/run.py --report "$(or $(REPORT),docs/conformance.md)"

.PHONY: test-controllers
test-controllers: setup ## Test with the real Argo CD, Flux and sealed-secrets (built first: half an hour once) [TESTS=tests/controllers/…]
	@$(BIN)/python -m simlab.binaries $(CONTROLLERS)
	@$(AS_ROOT) $(BIN)/python -m pytest -q $(or $(TESTS),tests/controllers)

.PHONY: bench
bench: setup ## Requests, CPU and wall time, ours and the peers': [ONLY=B2,B4] [REPORT=bench.json] [SIZE=100] [DELAYS=0,20]
	@$(BIN)/python tests/benchmarks/bench.py --report "$(or $(REPORT),bench.json)" $(if $(ONLY),--only $(ONLY)) $(if $(SIZE),--size $(SIZE)) $(if $(DELAYS),--delays $(DELAYS))

.PHONY: docs
docs: setup ## Generate the tables of docs/: modules.md, and benchmarks.md from REPORT=bench.json if it is there
	@$(BIN)/python scripts/docs.py $(if $(REPORT),--report $(REPORT))

.PHONY: clean
clean: ## Delete what was made here, but not the caches in the home directory
	@rm -rf .venv .venvs .build .cache .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis
