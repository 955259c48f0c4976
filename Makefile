# Every target sets up what it needs: git, make, bash and Python 3.11 are all that a fresh machine must have.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench containers lock docs protos clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
LOCKS := $(wildcard deploy/requirements/*.txt tests/end_to_end/sdks/locks/*.txt bench/requirements.txt)
# More words for the command behind a target: make test ARGS="-k breaker", make demo ARGS=--keep
ARGS ?=

help:
	@echo "make setup       a $(VENV) with both distributions, from hash-pinned locks"
	echo "make demo        a small scene job with the real SDKs while the upstreams misbehave"
	echo "make test        every test"
	echo "make check       style, types, import rules and locks"
	echo "make bench       side-by-side measurements"
	echo "make containers  the images and the compose file for real, with podman"
	echo "make lock        resolve the locks again"
	echo "make docs        rewrite the generated parts of README.md"
	echo "make protos      compile protos/ into the clients' descriptor set"
	echo "make clean       remove $(VENV) and every cache"

setup: $(STAMP)

# The first candidate that is new enough and can make an environment, else the first that is new enough. Each is run to see:
# a name on PATH may be a shim for a version that is not installed. The distribution's own build comes first: it is an
# optimised one, which a build from source by a version manager mostly is not (a fifth of the proxy's CPU).
define FIND_PYTHON
find_python() {
	local modules name
	for modules in sys,ensurepip,venv sys; do
		for name in /usr/bin/python3.11 python3.11 python3 python3.12 python3.13; do
			if "$$name" -c "import $$modules; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then
				echo "$$name"
				return
			fi
		done
	done
	echo "make: no Python 3.11 or newer found as python3.11 or python3; install Python 3.11 and run this again" >&2
	return 1
}
endef

# Debian splits venv's pip (ensurepip) into a package of its own.
define GIVE_PYTHON_VENV
give_python_venv() {
	local package root=()
	"$$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
	package=$$("$$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	if command -v apt-get >/dev/null; then
		if [[ $$(id -u) != 0 ]] && command -v sudo >/dev/null && sudo -n true 2>/dev/null; then root=(sudo -n --); fi
		if [[ $$(id -u) == 0 || $${#root[@]} -gt 0 ]]; then
			echo "make: $$1 has no venv module; installing $$package" >&2
			root+=(env DEBIAN_FRONTEND=noninteractive)
			"$${root[@]}" apt-get install -y "$$package" >&2 || {
				"$${root[@]}" apt-get update >&2
				"$${root[@]}" apt-get install -y "$$package" >&2
			}
			return
		fi
	fi
	echo "make: $$1 cannot make a virtual environment (its ensurepip module is missing);" >&2
	echo "make: install $$package (as root: apt-get install $$package) and run this again" >&2
	return 1
}
endef

$(STAMP): deploy/requirements/dev.txt pyproject.toml clients/pyproject.toml
	@$(FIND_PYTHON)
	$(GIVE_PYTHON_VENV)
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
		python=$$(find_python)
		give_python_venv "$$python"
		"$$python" -m venv --clear $(VENV)
	fi
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
	echo "installing the locked dependencies into $(VENV)"
	$(BIN)/python -m pip install -qq --require-hashes -r deploy/requirements/dev.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e . -e ./clients
	touch $@

demo: $(STAMP)
	@exec $(BIN)/blueprint-proxy demo $(ARGS)

test: $(STAMP)
	@exec $(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	@set -x
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy proxy/blueprint_proxy clients/blueprint_clients
	$(BIN)/mypy --python-version 3.10 clients/blueprint_clients
	$(BIN)/lint-imports
	: a lock names packages and hashes, never a host
	if grep -nE '://|--(extra-)?index-url|--find-links' $(LOCKS); then exit 1; fi

bench: $(STAMP)
	@exec $(BIN)/python -m bench --write $(ARGS)

containers: $(STAMP)
	@exec $(BIN)/python -m pytest tests/containers -m containers $(ARGS)

docs: $(STAMP)
	@$(BIN)/python tests/test_documents.py

protos: $(STAMP)
	@PYTHONPATH=tests exec $(BIN)/python protos/generate.py

# Changes nothing that still fits; make lock ARGS=--upgrade moves everything on, ARGS="--upgrade-package NAME" one.
UV_LOCK = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--universal $(ARGS)
lock: $(STAMP)
	@$(UV_LOCK) pyproject.toml --extra demo --group dev -o deploy/requirements/dev.txt
	$(UV_LOCK) pyproject.toml -o deploy/requirements/runtime.txt
	$(UV_LOCK) pyproject.toml --extra demo -o deploy/requirements/demo.txt
	$(UV_LOCK) --group pyproject.toml:build -o deploy/requirements/build.txt

clean:
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist clients/build clients/dist
	find . -path ./.git -prune -o \( -name __pycache__ -o -name '*.egg-info' \) -type d -prune -exec rm -rf {} +
