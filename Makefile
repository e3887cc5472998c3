# Two commands: `make lab` opens the lessons, `make test` runs every test. Both set up .venv first, each what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(VENV)/.lab
APP := $(VENV)/.app
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help lab app dask test check fast everywhere bench claims cubes docs clean format notebooks

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# constraints.txt pins torch: an unpinned one, or a package that pulls torchvision, brings gigabytes of CUDA.
# What opens the lessons is installed first; tests, checks, peers, Voila and Dask when they are first asked for.
$(LAB): pyproject.toml constraints.txt
	@$(PYTHON) scripts/set_up.py $(VENV) lab
	@touch $@

$(STAMP): $(LAB)
	@$(PYTHON) scripts/set_up.py $(VENV) all
	@touch $@

$(APP): $(LAB)
	@$(PYTHON) scripts/set_up.py $(VENV) app
	@touch $@

lab: $(LAB)  ## open JupyterLab on notebooks/00_start_here.ipynb
	@$(BIN)/xmodal lab $(LAB_ARGS)

app: $(APP)  ## the lessons as apps (Voila): code hidden, views live
	JUPYTER_PATH=widgets/app $(BIN)/python -m voila --template=xmodal --classic-tree --Voila.ip=127.0.0.1 --progressive_rendering=True $(APP_ARGS) notebooks

dask: $(LAB)  ## what sweeps on a cluster need: Dask, and its jobs for Slurm
	@$(PYTHON) scripts/set_up.py $(VENV) distributed

test: $(STAMP)  ## every test: unit, property, notebooks, browser
	$(BIN)/python tests/run_all.py

fast: $(STAMP)  ## unit and property tests, without those marked slow
	$(BIN)/python tests/run_all.py --fast

everywhere: $(STAMP)  ## the fast tier and the notebooks as other processors would run them; prints what differs
	$(BIN)/python scripts/everywhere.py $(EVERYWHERE_ARGS)

check: $(STAMP)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## mend lint and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP)  ## run the lessons again and keep their outputs
	$(BIN)/python scripts/run_notebooks.py

.peers: benchmarks/peers.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .peers -r benchmarks/peers.txt
	@touch $@

docs: $(LAB)  ## build the static site: API reference, lessons with live views, ledger
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python scripts/make_docs.py $(DOCS_ARGS)

claims: $(LAB)  ## measure every claim again (resumes; two processes), write CLAIMS.md, its picture and claims.json
	OMP_NUM_THREADS=1 $(BIN)/xmodal claims --run --write --jobs 2 $(CLAIMS_ARGS)

cubes: $(LAB)  ## compute the cubes that explorers open on
	$(BIN)/python scripts/make_cubes.py

bench: .peers  ## measure against peers, side by side; writes benchmarks/results.json and the README's table
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site
