# Two commands do everything: `make run` and `make test`. Each installs what it needs into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
BENCH  := .venv-bench

.PHONY: help install run test test-all lint format bench notebooks clean

help:            ## what there is
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV): a minute or two"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP) ## create .venv and install everything

run: install     ## the lab's teacher ablation: three teachers, two seeds, one report
	$(BIN)/python run.py experiment=quickstart

test: install    ## all tests but those marked slow or gpu
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow and not gpu"

test-all: install ## every test
	$(BIN)/python -m pytest

lint: install    ## ruff, mypy strict, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff rewrite the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BENCH)/.installed: $(STAMP) bench/constraints.txt
	@echo "installing the peers into $(BENCH), over the packages of $(VENV)"
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages_of_venv.pth"
	@$(BENCH)/bin/python -m pip install --quiet --constraint constraints.txt --constraint bench/constraints.txt trl jsonargparse lightning \
		|| echo "TRL could not be installed: it is left out"
	@$(BENCH)/bin/python -m pip install --quiet --no-deps --constraint bench/constraints.txt litgpt \
		|| echo "litgpt could not be installed: it is left out"
	@touch $@

bench: $(BENCH)/.installed ## speed beside peers, about 17 minutes; ROWS=FILE (Alpaca format), COMPARISONS=FILE_OR_FOLDER for real rows
	$(BENCH)/bin/python bench/sft.py $(ROWS:%=--rows %) --peaks --out bench/results/sft.json
	$(BENCH)/bin/python bench/reward.py $(COMPARISONS:%=--rows %) --rounds 3 --threads 2 --clock wall --out bench/results/reward.json
	$(BIN)/python bench/sampling.py $(ROWS:%=--rows %) --clock wall --rounds 3 --out bench/results/sampling.json
	$(BENCH)/bin/python bench/tokenise.py $(ROWS:%=--rows %) --rounds 3 --out bench/results/tokenise.json
	$(BIN)/python bench/startup.py --rounds 3 --out bench/results/startup.json
	$(BIN)/python bench/collect.py --rounds 3 --out bench/results/collect.json
	@if [ -n "$(ANSWERS)" ]; then $(BIN)/python bench/rouge.py "$(ANSWERS)" "$(REFERENCES)"; \
	else echo "skipped bench/rouge.py: give ANSWERS=FILE REFERENCES=FILE, two files of answers"; fi
	@echo "not run: bench/soak.py (about 5 minutes), bench/scaling.py, bench/memory.py, bench/gpu_sft.py (a CUDA device), bench/sft.py --all"

notebooks: install ## execute the notebooks on RUNS, or the newest sweep, into outputs/notebooks
	@mkdir -p outputs/notebooks
	@cp notebooks/*.ipynb outputs/notebooks
	UNDERSTUDY_RUNS="$(if $(wildcard $(RUNS)),$(abspath $(RUNS)),$(RUNS))" $(BIN)/jupyter-execute --inplace --kernel_name=python3 outputs/notebooks/*.ipynb
	@echo "executed: outputs/notebooks"

clean:           ## remove what the commands above made, results excepted
	rm -rf $(VENV) $(BENCH) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
