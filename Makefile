# What a person types: `make up`, `make test`, `make down`, `make check`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON := python3 python3-venv
COOLDOWN := $(shell date -u -d '7 days ago' +%F)
COMPILE := $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --exclude-newer $(COOLDOWN)
# Whoever is behind a proxy with an authority of its own has that authority here.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS ?= 1
endif

.PHONY: help up down test torture bench check install install-dev format lock packages packages-test packages-bench azurite older-postgres image bundle test-image test-elsewhere
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/uv: requirements/tools.txt
	@deploy/install-packages $(PYTHON)
	@python3 -m venv $(VENV)
	@$(BIN)/pip install -q --require-hashes -r requirements/tools.txt
	@touch $@

$(VENV)/.runtime: $(BIN)/uv requirements/runtime.txt requirements/dev.txt pyproject.toml
	@if [ -e $(VENV)/.dev ]; then $(MAKE) -s $(VENV)/.dev; else \
	  $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/runtime.txt; fi
	@printf '%s\n' "$(CURDIR)/src" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/hatoba.pth"
	@printf '#!/bin/sh\nexec "%s" -m hatoba.cli.main "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/hatoba
	@chmod +x $(BIN)/hatoba
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.dev: $(BIN)/uv requirements/dev.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.runtime ## Create .venv with what Hatoba runs on
install-dev: $(VENV)/.dev $(VENV)/.runtime ## ... and what tests need

packages:
	@deploy/install-packages $(if $(wildcard $(BIN)/uv),,$(PYTHON)) postgresql redis-server libnss-wrapper kubectl

packages-test: packages azurite older-postgres
	@deploy/install-packages skopeo podman buildah docker-registry strace faketime wrk

# $(call npm-install,FOLDER,WHAT IS SO WITHOUT IT): where npm can get nothing tests go on with less and say so; with STRICT=1 this fails.
define npm-install
@deploy/install-packages nodejs npm
@for attempt in 1 2 3; do (cd $(1) && npm ci --silent --ignore-scripts --no-audit --no-fund) && touch $@ && exit 0; done; \
  echo "npm could not install what $(1) names: $(2)." >&2; [ -z "$(STRICT)" ]
endef

# Microsoft's emulator of Azure's storage, a peer of tests alone.
AZURITE := tests/azurite/node_modules/.installed
azurite: $(AZURITE)

$(AZURITE): tests/azurite/package-lock.json
	$(call npm-install,tests/azurite,tests against Azure storage are skipped)

# PostgreSQL 13, which Debian does not have any more: databases move from it.
OLDER_POSTGRES := tests/older_postgres/node_modules/.installed
older-postgres: $(OLDER_POSTGRES)

$(OLDER_POSTGRES): tests/older_postgres/package-lock.json
	$(call npm-install,tests/older_postgres,databases move between servers of one version)

packages-bench:
	@deploy/install-packages $(if $(wildcard $(BIN)/uv),,$(PYTHON)) postgresql docker-registry skopeo wrk

up: packages install ## From a fresh checkout to a running registry
	@$(BIN)/hatoba up -f deploy/samples/walkthrough.yaml

down: ## Stop everything (PURGE=1 removes its state)
	@if [ -x $(BIN)/hatoba ]; then $(BIN)/hatoba down $(if $(PURGE),--purge); else echo "Nothing is installed here, nothing runs."; fi

# With thousands of tests that kill, fill and race, one that fails by chance is run once more, and is named with what it said.
UNSTEADY := --reruns 1 --max-suite-reruns 3 --rerun-show-tracebacks

test: packages-test install-dev ## All tests
	@$(BIN)/python -m pytest -n 2 -m "not cluster and not image" $(UNSTEADY)
	@$(BIN)/python -m pytest -m cluster -p no:randomly $(UNSTEADY)

test-image: packages-test install-dev ## Build the image on a base made by debootstrap and run it (as root)
	@deploy/install-packages debootstrap runc
	@$(BIN)/python -m pytest -m image -p no:randomly -s tests/image

test-elsewhere: install-dev ## The operator against the API server of KUBEBUILDER_ASSETS=DIR, or a stand-in (TESTS=some)
	@$(BIN)/python -m tests.operator.control_plane $(BIN)/python -m pytest -q -rs -m api -p no:randomly $(or $(TESTS),tests/operator)

torture: packages-test install-dev ## Faults at random instants, for SECONDS=600 (SEED=... repeats the dice)
	@HATOBA_TORTURE_SECONDS=$(or $(SECONDS),600) HATOBA_TORTURE_SEED=$(or $(SEED),$(shell date +%s)) \
	  $(BIN)/python -m pytest -p no:randomly -s -v tests/torture

bench: packages-bench install ## Measure beside docker-registry (QUICK=1: in three minutes; ONLY=manifest,blob: some rows)
	@$(BIN)/python -m bench --plan $(if $(QUICK),quick,full) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK)$(ONLY),,--output bench/results.md)

image: install-dev ## Build the image (BASE=an image with Python 3.11 or later, TAG=hatoba:0.1.0)
	@deploy/build-image "$(BASE)" "$(or $(TAG),hatoba:0.1.0)"

bundle: install-dev ## Write deploy/crd and deploy/bundle anew
	@for kind in quayregistries quayregistrybackups quayregistryrestores; do $(BIN)/python -m hatoba.operator.definition $$kind > deploy/crd/.new && mv deploy/crd/.new deploy/crd/$$kind.yaml || exit 1; done
	@$(BIN)/python tools/olm_bundle.py

check: install-dev ## Format, lint, types, import contracts
	@$(BIN)/ruff format --check -q src bench tests requirements
	@$(BIN)/ruff check -q src bench tests requirements
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -p no:randomly tests/architecture

format: install-dev
	@$(BIN)/ruff format src bench tests requirements
	@$(BIN)/ruff check --fix -q src bench tests requirements

lock: $(BIN)/uv ## Write the hashed requirements anew
	@for r in tools runtime dev; do $(COMPILE) -o requirements/$$r.txt requirements/$$r.in; done
