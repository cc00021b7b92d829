# `make run` and `make test` are the README's two commands. Each sets everything up by itself.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= runs/quick

.PHONY: run test setup links lint types unit gate clean

run: setup
	$(BIN)/dartboard run quick --out $(OUT)

test: setup lint types unit gate

setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Dartboard needs Python 3.11 or newer, and $(PYTHON) is {sys.version.split()[0]}: call make with PYTHON=/path/to/a/newer/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[test]' -c constraints.txt
	touch $@

# mypy reads packages by their folders' names: links give it `dartboard/...` as the installed package has it.
links:
	mkdir -p .links/dartboard
	for room in benchmark searchers selectors results harness; do ln -sfn ../../$$room .links/dartboard/$$room; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup links
	MYPYPATH=.links $(BIN)/mypy -p dartboard

# Two workers of one thread each: two threads in each would wait for one another.
unit: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q

# Our own regression gate: the smoke grids must choose the cells that the stored baseline has.
gate: setup
	rm -rf .gate
	$(BIN)/dartboard run smoke --out .gate --device cpu --no-report
	$(BIN)/dartboard run smoke-searchers --out .gate --device cpu --no-report
	$(BIN)/dartboard check .gate --baseline tests/golden/smoke-baseline.json

clean:
	rm -rf $(VENV) .links .gate build dartboard.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
