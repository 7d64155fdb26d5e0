# make install | demo | test | long | check | bench | chaos | crashes | rubbish | soak | up | clean
#
# Pins are remade, after an edit of pyproject.toml's dependencies, with
#   uv pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes \
#     --no-header --no-emit-index-url --python-version 3.11 -o constraints.txt
# (no index address stands in the file: pip takes the index that the machine is set up with).

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# The stamp is named by what was installed: the same pins need no second installation, nor network.
STAMP := .venv/installed-$(shell cat constraints.txt pyproject.toml workers/kafka_jars.sha256 | cksum | tr ' ' '-')
# Kernels are compiled anew after an edit of what they are made of, and not at the first alert.
WARM := .venv/warm-$(shell find broker models -name '*.py' | LC_ALL=C sort | xargs cat | cksum | tr ' ' '-')

.PHONY: install demo test long check bench chaos crashes rubbish soak up clean

install: $(WARM)

$(WARM): $(STAMP)
	$(BIN)/python -m workers.warm
	@rm -f .venv/warm-*
	@touch $@

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Nightjar needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "'$(PYTHON)' cannot make virtual environments: it comes without ensurepip." \
	    "Install it, e.g. apt install python3-venv, then again."; exit 2; }
	$(PYTHON) -m venv .venv
# Modules are compiled as they are imported: of all of them that takes three minutes.
	@echo "Fetching the pinned packages, 3.3 GB (6.3 GB unpacked), once."
	$(BIN)/pip install --disable-pip-version-check --no-compile --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f .venv/installed-*
	@touch $@

demo: install
	@$(BIN)/nightjar demo

up: install
	@$(BIN)/nightjar up

# Three at a time, as they wait for Kafka half of the time; the tests of a file one after the other.
AT_ONCE := -n 3 --dist loadfile
test: install
	@$(BIN)/python -m pytest $(AT_ONCE)

# The tests, and those of half a minute each that are left out of them.
long: install
	@$(BIN)/python -m pytest $(AT_ONCE) --long

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@$(BIN)/python -m pytest tests/bench
	@$(BIN)/nightjar bench

# A million mutated packets through all stages, a quarter of an hour; PACKETS and SEED may be given.
PACKETS ?= 1000000
SEED ?= 1
rubbish: install
	@PYTHONPATH=tests $(BIN)/python -c 'import sys; from workers.process import set_kernel_cache; \
	  set_kernel_cache(); import rubbish; sys.exit(rubbish.main())' \
	  --packets $(PACKETS) --seed $(SEED)

# A hundred faults under load, half an hour; FAULTS may be given, and SEED=2 is another plan.
FAULTS ?= 100
chaos: install
	@$(BIN)/python -m pytest -s tests/chaos --faults $(FAULTS) --rate 2000 --plan-seed $(SEED)

# Workers killed between every two steps of a commit, each twenty times; three quarters of an hour.
crashes: install
	@$(BIN)/python -m pytest -s tests/chaos --faults 380 --kind ' killed ' --plan-seed $(SEED)

# A burst while Kafka stands still now and then; half an hour at a steady rate, and 40,000 packets at
# once. MINUTES, RATE and MODEL may be given.
MINUTES ?= 30
RATE ?= 4000
MODEL ?= crts-rows
soak: install
	@$(BIN)/python -m pytest tests/test_pressure.py --long
	@PYTHONPATH=tests $(BIN)/python -c 'import sys; from workers.process import set_kernel_cache; \
	  set_kernel_cache(); import soak; sys.exit(soak.main())' --minutes $(MINUTES) --rate $(RATE) \
	  --model $(MODEL)

# What runs leave behind; the environment stays (rm -r .venv).
clean:
	rm -rf .nightjar .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks build dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -r {} +
