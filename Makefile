# Every target sets up what it needs: the first run makes .venv and installs the versions in
# constraints.txt, later runs start at once.
#
#   PYTHON=python3.12 make test    choose the interpreter (3.11 or newer); remove .venv to change it later
#   make test JOBS=8               test processes, 2 by default
#   make test ARGS="-k maml"       more arguments for the command behind a target

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
SECONDS ?= 60
ENGINE ?= hypothesis

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow fuzz check format bench docs reproduce

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(READY)  ## train, adapt and report on built-in data; results go to demo/
	$(BIN)/genmeta demo --out demo $(ARGS)

test: $(READY)  ## run the tests
	$(PYTEST) $(ARGS)

test-slow: $(READY)  ## run the tests that take minutes: fifty kills, elastic restart
	$(PYTEST) -m slow $(ARGS)

fuzz: $(READY)  ## fuzz every reader with hypothesis, SECONDS=60 each; with ENGINE=atheris if that is installed
	for target in spec checkpoint config coco voc image mask archive; do \
		$(BIN)/python tests/fuzz/run.py --engine $(ENGINE) --target $$target --seconds $(SECONDS) || exit 1; \
	done

check: $(READY)  ## lint, formatting, types, import floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## fix lint where it is safe, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## compare the speed with other libraries (installed into build/peers); ARGS="--quick --only grid"
	$(BIN)/python benchmarks/peers.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run.py $(ARGS)

reproduce: $(READY)  ## rerun rows of results/, see what there is; ARGS="omniglot-5w1s hypernet"
	OMP_NUM_THREADS=1 $(BIN)/python tools/reproduce.py $(ARGS)

docs: $(VENV)/.docs  ## build the site of the documents into site/, dead links forbidden; needs no network but to install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)  # --quiet would hide the warnings from --strict too

setup: $(READY)  ## only make .venv and install

# The stamp is written last, so a set-up that fails halfway is taken up again by the next run.
# The build backend goes in first, pinned, and the package is then built without a separate build
# environment, whose versions the constraints would not reach.
$(READY): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { echo "make: no Python called '$(PYTHON)' was found; genmeta needs 3.11 or newer. Install it, or name one: PYTHON=python3.12 make ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); genmeta needs Python 3.11 or newer. Name another: PYTHON=python3.12 make ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "make: '$(PYTHON)' lacks the venv or ensurepip module, which makes .venv. Install it (on Debian and Ubuntu: the python3-venv package), or name another Python: PYTHON=python3.12 make ..." >&2; exit 1; }
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(PIP) install --quiet -c constraints.txt setuptools
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(READY)
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@
