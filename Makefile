# One command each. 'make help' lists them; scripts/ holds what takes more than a line.
VENV := .venv
CONFIG ?= config/default.yaml
OVERFLOW_PORT ?= 8700
ARGS ?=
SEEDS ?= 10000
FIRST ?= 0
WORKERS ?= logical
# Chosen by hand: a release of torch of which a build without CUDA is to be had as well.
TORCH := 2.13.0
# Its programs are on nobody's PATH.
POSTGRES := $(or $(lastword $(wildcard /usr/lib/postgresql/*/bin/postgres)),postgres)=postgresql

# As many processes of tests as cores, up to four, for each has servers and models of its own. The
# tests of a file stay together, and with them what is dear to start.
PARALLEL := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
FAULTS := $(patsubst %,tests/e2e/failures/test_%.py,faults matrix job_queues backends_fail) \
  tests/adapters/openai/test_odd_answers.py
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt scripts/install
RUNTIME := $(VENV)/.installed-runtime
TESTING := $(VENV)/.installed-testing

.DEFAULT_GOAL := help
.PHONY: help serve install test test-quick check docs format bench bench-quick bench-runtime bench-adapters bench-economics bench-jobs bench-money bench-reports bench-gpu bench-guard bench-outage faults soak endurance batches caps policies streams agreement frameworks simulate constraints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

serve: $(RUNTIME) ## the gateway on https://127.0.0.1:8443, with a local model and a spare backend
	@exec $(BIN)/python -m scripts.serve --config $(CONFIG) --overflow-port $(OVERFLOW_PORT)

install: $(TESTING) ## the whole environment, for working on the code

$(RUNTIME): $(PINS)
	@scripts/install local,runpod
	@touch $@

$(TESTING): $(PINS)
	@scripts/install local,runpod,test,docs
	@touch $@ $(RUNTIME)

test: $(TESTING) ## every test, on all cores, with the system's packages that they need; WORKERS=0: on one
	@scripts/system-packages redis-server=redis-server $(POSTGRES) curl=curl git=git \
		nginx=nginx systemd-analyze=systemd chromium=chromium
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

test-quick: $(TESTING) ## the tests that start no process: a minute
	@$(BIN)/pytest --quick $(PARALLEL) $(ARGS)

check: $(TESTING) ## format, lint, types, import contracts, the site, and whether a plain call has grown
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m benchmarks.guard

docs: $(TESTING) ## the documents as a site, on http://127.0.0.1:8000
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --strict

format: $(TESTING) ## writes the code as 'make check' wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TESTING) ## against nginx, routers and other gateways; ARGS='--help' for more
	@scripts/system-packages wrk=wrk nginx=nginx redis-server=redis-server $(POSTGRES)
	@$(BIN)/python -m benchmarks.gateway $(ARGS)

bench-quick: ARGS += --quick
bench-quick: bench ## two minutes' worth of it

bench-gpu: $(RUNTIME) ## batches, CUDA graphs, cold start and overhead on the best device there is
	@$(BIN)/python -m benchmarks.gpu $(ARGS)

bench-runtime: $(RUNTIME) ## the stand-alone server against LitServe, BentoML, Ray Serve and mosec
	@scripts/system-packages wrk=wrk
	@$(BIN)/python -m benchmarks.runtime $(ARGS)

bench-guard: $(RUNTIME) ## whether a plain call runs more bytecodes than were recorded; ARGS=--record takes a new count
	@$(BIN)/python -m benchmarks.guard $(ARGS)

bench-outage: $(RUNTIME) ## two gateways under load whose Redis is stopped for ten seconds
	@$(BIN)/python -m benchmarks.lost_store $(ARGS)

bench-economics: $(RUNTIME) ## what planned capacity costs over recorded traffic; ARGS='--traces FOLDER'
	@$(BIN)/python -m benchmarks.economics $(ARGS)

bench-adapters: $(RUNTIME) ## what each kind of backend adds to the bare exchange, and its CPU at 1 to 200 calls
	@$(BIN)/python -m benchmarks.adapters $(ARGS)

bench-reports: $(TESTING) ## reports of ten million rows and a start with them; ARGS=--postgres, ARGS=--check
	@scripts/system-packages $(POSTGRES)
	@$(BIN)/python -m benchmarks.reports $(ARGS)

bench-jobs: $(TESTING) ## how many durable jobs a second two gateways on PostgreSQL take, start and end
	@scripts/system-packages $(POSTGRES)
	@$(BIN)/python -m benchmarks.jobs $(ARGS)

bench-money: $(TESTING) ## what limits and the ledger's rows cost, in process, SQLite, PostgreSQL and Redis
	@scripts/system-packages redis-server=redis-server $(POSTGRES)
	@$(BIN)/python -m benchmarks.money $(ARGS)

faults: $(TESTING) ## every fault of a backend, whoever else could answer and however long it lasts
	@SPILLGATE_SOAK=long $(BIN)/pytest $(PARALLEL) $(FAULTS) $(ARGS)

soak: $(TESTING) ## the long form of the endurance tests
	@scripts/system-packages redis-server=redis-server
	@SPILLGATE_SOAK=long $(BIN)/pytest -m soak $(ARGS)

endurance: $(TESTING) ## 50 rounds of 1,000 calls on a cap for 100, and of SIGKILL under load, on every store
	@scripts/system-packages redis-server=redis-server $(POSTGRES)
	@SPILLGATE_SOAK=long $(BIN)/pytest tests/e2e/endurance $(ARGS)

batches: $(TESTING) ## a batch of 20,000 lines whose gateways are killed five times: one, and two on PostgreSQL
	@scripts/system-packages $(POSTGRES)
	@SPILLGATE_SOAK=long $(BIN)/pytest tests/e2e/endurance/test_batches.py $(ARGS)

policies: $(TESTING) ## 4,000 policies with a mistake in each: refused with a place, or served; SPILLGATE_FIRST=N takes others
	@SPILLGATE_SOAK=long $(BIN)/pytest tests/gateway/preflight/test_hostile_policies.py $(ARGS)

streams: $(TESTING) ## 1,000 streams at once over a backend that is killed ten times
	@SPILLGATE_SOAK=long $(BIN)/pytest tests/e2e/endurance/test_cut_streams.py $(ARGS)

caps: $(TESTING) ## 50 rounds of 1,000 calls at once on a cap for 100: 1, 2 and 4 processes, every store
	@scripts/system-packages redis-server=redis-server $(POSTGRES)
	@SPILLGATE_SOAK=long $(BIN)/pytest tests/e2e/endurance/test_caps.py $(ARGS)

agreement: $(TESTING) ## a replay beside a gateway that runs; ARGS='--plan', '--trace FILE --since S --seconds S --times N'
	@$(BIN)/python -m tests.agreement $(ARGS)

frameworks: $(TESTING) ## LangChain, LlamaIndex and Vercel's AI SDK against a gateway; ARGS='langchain' for one
	@scripts/system-packages node=nodejs npm=npm
	@$(BIN)/python -m tests.frameworks $(ARGS)

simulate: $(TESTING) ## SEEDS=10000 days of whole gateways, from FIRST=0 on; ARGS='--trace' tells one
	@$(BIN)/python -W ignore -m tests.simulation --first $(FIRST) --seeds $(SEEDS) --jobs 2 $(ARGS)

constraints: ## constraints.txt anew, from today's releases
	@scripts/constraints $(TORCH)

clean: ## removes the environment, caches and the benchmark's contenders; keeps .spillgate
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf build dist site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
