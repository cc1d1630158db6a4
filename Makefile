# Each target works from nothing: it makes .venv and fetches what is missing. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
MINUTES ?= 180
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MANUAL := docs/_build/html
DEMO_PAGES := /usr/share/doc/python3.11/html/index.html
APT := apt-get -qq -o Acquire::Retries=5 -o Acquire::http::Timeout=30 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq --retries 5

export PYTHONUNBUFFERED := 1
export DEBIAN_FRONTEND := noninteractive
# Workers start as installed ones do, from what is compiled already, whatever the machine's own environment says.
export PYTHONDONTWRITEBYTECODE :=
# What tests write goes to memory where there is room: many that sync a slow disk at once wait for each other.
export PYTEST_DEBUG_TEMPROOT ?= $(shell (( $$(df --output=avail /dev/shm 2>/dev/null | tail -1) > 4000000 )) \
	&& echo /dev/shm || echo $${TMPDIR:-/tmp})

.PHONY: help demo test chaos lint docs bench clean servers

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

demo: $(STAMP) $(DEMO_PAGES) docs ## check the links of a real manual with 1,000 green threads
	@$(BIN)/python -m examples.linkcheck.demo $(MANUAL)

test: servers lint docs ## lint, types, manual, then every test
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile || { test $$? = 1 && \
		echo "what failed beside others on a busy machine is run once more, alone:" && \
		$(BIN)/python -m pytest -q --lf --lfnf=none; }

chaos: $(STAMP) servers ## the long form of every fault, on every broker and pool; takes hours
	@failed=0; \
	for broker in redis amqp sqlite; do \
		for pool in gevent prefork threads eventlet; do \
			$(BIN)/python -m tests.chaos --broker $$broker --pool $$pool --kills 200 --tasks 50000 \
				--terms 500 --stops 50 --clocks 20 --amnesia 20 --failpoints --long || failed=1; done; done; \
	$(BIN)/python -m tests.chaos.faults --times 50 || failed=1; \
	$(BIN)/python -m tests.chaos.delays || failed=1; \
	$(BIN)/python -m tests.chaos.fuzz || failed=1; \
	for broker in redis amqp; do $(BIN)/python -m tests.chaos.pings --broker $$broker || failed=1; done; \
	$(BIN)/python -m tests.chaos.soak --broker redis --pool gevent --tasks 5000000 --recycles 500 || failed=1; \
	exit $$failed

lint: $(STAMP) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## build the manual; a warning or a dead link in it is an error
	@rm -rf $(MANUAL)
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs $(MANUAL)
	$(BIN)/python -m examples.linkcheck -c 100 $(MANUAL)

bench: $(STAMP) servers ## measure greenq beside its peers; MINUTES=180 at most, on a machine with no other work
	-$(BIN)/python -m benchmarks --minutes $(MINUTES) --keep
	$(BIN)/python -m benchmarks calls
	$(BIN)/python -m benchmarks charts
	$(BIN)/python -m benchmarks history
	-$(BIN)/python -m benchmarks check

clean: ## remove everything that was built or installed here
	rm -rf $(VENV) docs/_build build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		tests/greenq/interop/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── what they stand on ──────────────────────────────────────────────────────────────────────────────────

# setup.cfg names every dependency, so the environment is as old as it is.
$(STAMP): setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; name another with: make PYTHON=python3.12" >&2; exit 2; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "installing $(PYTHON)-venv"; $(APT) update; $(APT) install -y --no-install-recommends $(PYTHON)-venv >/dev/null; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing greenq and its tools into $(VENV)"
	@$(PIP) install --upgrade pip 'setuptools>=70.1'
	@PYTHONWARNINGS=ignore $(PIP) install -e '.[all,test,lint,docs]'
	@touch $@

# Servers that the tests start for themselves, on free ports and in directories of their own; each with a file by
# which it is known to be there.
SERVERS := redis-server:/usr/bin/redis-server rabbitmq-server:/usr/lib/rabbitmq/bin/rabbitmq-server \
	memcached:/usr/bin/memcached postgresql:/usr/lib/postgresql/*/bin/initdb etcd-server:/usr/bin/etcd \
	default-jre-headless:/usr/bin/java libzookeeper-java:/usr/share/java/zookeeper.jar openssl:/usr/bin/openssl \
	procps:/usr/bin/pgrep gcc:/usr/bin/cc libc6-dev:/usr/include/stdio.h nodejs:/usr/bin/node
servers:
	@missing=(); \
	for server in $(SERVERS); do \
		compgen -G "$${server#*:}" >/dev/null || command -v "$${server##*/}" >/dev/null || missing+=("$${server%%:*}"); done; \
	if (( $${#missing[@]} )); then \
		echo "installing $${missing[*]}"; $(APT) update; \
		RUNLEVEL=1 $(APT) install -y --no-install-recommends "$${missing[@]}" >/dev/null; fi
	@$(PYTHON) tests/greenq/interop/node/packages.py

# The pages that the demo checks beside greenq's own manual. Without them it takes any other manual it finds.
# Slim images tell dpkg to leave documentation out, hence the explicit include.
$(DEMO_PAGES):
	@echo "installing python3.11-doc"
	@{ $(APT) update && $(APT) install -y --reinstall --no-install-recommends \
		-o Dpkg::Options::='--path-include=/usr/share/doc/python3.11/*' python3.11-doc >/dev/null; } \
		|| echo "python3.11-doc could not be installed; the demo looks for another manual" >&2
