# The commands of this project; each may be run again at any time. `make help` lists them.
PYTHON ?= python3
SEED ?= 1
# Tests side by side: most of them wait for servers now and then. What kills servers needs a core each.
WORKERS ?= 4
export SCALE S
# Some machines forbid it; then every one of our many processes would compile all of itself at its start.
unexport PYTHONDONTWRITEBYTECODE
UP := $(PYTHON) deploy/up.py
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help up down status logs reset doctor test check bench chaos schemas lock

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

up: ## set up and start everything; SCALE="inbox=2 gateway=2" runs more replicas, ROZMOVA_PORT_BASE=18080 moves the ports
	@$(UP) up

down: ## stop what `make up` started
	@$(UP) down

status: ## what runs, with ports, versions and restarts
	@$(UP) status

logs: ## follow the services' logs; S=inbox only one (also rabbitmq, mongodb)
	@$(UP) logs

reset: ## stop and delete the demo data
	@$(UP) reset

doctor: ## what this machine has and lacks
	@$(UP) doctor

test: ## set up and run all tests on servers of their own
	@$(UP) setup --for test
	@$(VENV)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "not alone"
	@$(VENV)/pytest -n 3 --dist loadscope --no-loadscope-reorder -m alone tests/chaos tests/e2e tests/integration

check: ## format, lint, types, floors, house rules, unit and contract tests: about a minute
	@$(UP) setup --for check
	@$(VENV)/python tools/check.py

bench: ## performance report beside baselines of the same run, also in .rozmova/bench.json
	@$(UP) setup --for test
	@$(VENV)/python tools/bench.py

chaos: ## kill every process under load and count: SEED=1 SCALE=2 (twice as many messages) REPLICAS=2, ROLLING=20 (restarts) or OUTAGE=10 (minutes without RabbitMQ)
	@$(UP) setup --for test
	@$(VENV)/python tools/chaos.py --seed $(SEED) --scale $(or $(SCALE),1) --replicas $(or $(REPLICAS),1) --rolling $(or $(ROLLING),0) --outage $(or $(OUTAGE),0)

schemas: ## write the JSON Schemas of the words on the bus anew
	@$(UP) setup --for check
	@$(VENV)/python tools/gen_schemas.py

lock: ## make the locks anew from the pyproject files; UPGRADE=1 takes newer versions
	@$(UP) setup --for check
	@$(VENV)/python tools/lock.py $(if $(UPGRADE),--upgrade)
