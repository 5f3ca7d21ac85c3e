# Everything a developer runs. `make` alone lists the targets.

PYTHON ?= python3
MINUTES ?= 120
OUT ?= runs/nano
DATA ?= training-data
COUNT ?= 400
N ?= 200000
asked = $(filter command line environment,$(origin $(1)))
JOBS_ASKED := $(call asked,JOBS)
ROUNDS_ASKED := $(or $(if $(ROUNDS),--rounds $(ROUNDS)),$(if $(call asked,MINUTES),--minutes $(MINUTES)),--minutes 40)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MANIFEST_TOOLS := .venv-manifests
RABBITMQ := /usr/lib/rabbitmq/bin/rabbitmq-server
SERVICES := rabbitmq-server prometheus chromium
# Programs that open outputs as a shop's own would, and the packages that have them.
READERS := exiftool webpinfo dwebp tiffinfo avifdec convert
READER_PACKAGES := libimage-exiftool-perl webp libtiff-tools libavif-bin imagemagick
# While this says 101, Debian's packages do not start the services that they install.
POLICY := /usr/sbin/policy-rc.d
CEPH := ceph-mon ceph-osd radosgw
IMAGE_TOOLS := podman runc debootstrap
TARGETS ?= watch cpu
# Twice as many test processes as cores: the tests of the whole daemon mostly wait, for processes to start and for time-outs.
JOBS ?= $(shell expr 2 \* $$(nproc))
# Tests start hundreds of processes; without compiled modules each of them compiles the whole package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup services test lint types imports unit real-models onprem torture torture-mutations soak manifests image demo page-cost dashboard sheets page-images training-data train evaluate calibrate cascade render kernels reference bench peers sbom provenance gpu-check format clean

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the pinned packages (again only when they change)

services: ## install what tests run beside alphadrop: RabbitMQ, Prometheus, Chromium, programs that open pictures
	@test -x $(RABBITMQ) && (for program in prometheus chromium $(READERS); do command -v $$program >/dev/null || exit 1; done) || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $(SERVICES) $(READER_PACKAGES) ..."; export DEBIAN_FRONTEND=noninteractive; \
			test -e $(POLICY) || { trap 'rm $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' >$(POLICY); chmod +x $(POLICY); }; \
			apt-get -qq update && apt-get -qq install -y --no-install-recommends $(SERVICES) $(READER_PACKAGES) >/dev/null; \
		else \
			echo "The tests run other programs. On Debian and Ubuntu: sudo apt-get install $(SERVICES) $(READER_PACKAGES)" >&2; \
			exit 1; \
		fi; }

test: setup services ## lint, types, imports and every test: what CI runs
	@$(MAKE) --no-print-directory lint types imports
	@$(BIN)/python -m pytest --demand-all -n $(JOBS) --dist worksteal

lint: setup ## style and likely mistakes
	@$(BIN)/ruff check .
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run make format." >&2; exit 1; }

types: setup ## mypy, strict
	@$(BIN)/mypy

imports: setup ## which package may import which
	@$(BIN)/lint-imports --no-logo

unit: setup ## the fast tests only
	@$(BIN)/python -m pytest tests/unit -m "not slow and not torture and not gpu"

real-models: setup ## run u2netp and u2net as rembg publishes them (fetches 170 MB the first time)
	@echo "Each line below is a model that was fetched, checked or run; on a busy machine each takes minutes."
	@$(BIN)/python -m pytest tests/integration/test_real_models.py -m "real_models or not real_models" -v

onprem: setup services ## follow docs/onprem.md on a real Ceph gateway and a real RabbitMQ (a minute; installs Ceph the first time)
	@for program in $(CEPH); do command -v $$program >/dev/null && continue; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $(CEPH) ..."; export DEBIAN_FRONTEND=noninteractive; \
			test -e $(POLICY) || { trap 'rm $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' >$(POLICY); chmod +x $(POLICY); }; \
			apt-get -qq update && apt-get -qq install -y --no-install-recommends $(CEPH) >/dev/null; \
		else \
			echo "On Debian and Ubuntu: sudo apt-get install $(CEPH)" >&2; exit 1; \
		fi; break; done
	@$(BIN)/python -m pytest tests/integration/test_onprem.py -m onprem --demand-all -rP

torture: setup services ## rounds of random faults for 40 minutes, then the long campaigns: make torture ROUNDS=20 SEED=3 plays rounds alone
	@$(BIN)/python -m tests.torture $(ROUNDS_ASKED) $(if $(SEED),--seed $(SEED)) $(if $(JOBS_ASKED),--jobs $(JOBS))
ifeq ($(ROUNDS_ASKED),--minutes 40)
	@$(BIN)/python -m pytest tests/torture --campaign=full
	@$(BIN)/python -m pytest tests/unit tests/contract --hypothesis-profile=new
endif

torture-mutations: setup ## put errors into alphadrop and show that the judge of the torture finds each
	@$(BIN)/python -m tests.torture.mutations

soak: setup ## many small pictures in one run: memory, descriptors and threads: make soak N=20000
	@$(BIN)/python -m tests.torture.soak --images $(N)

fuzz: MINUTES := 60
fuzz: setup ## decode damaged files of every format: make fuzz MINUTES=60
	@$(BIN)/python -m scripts.fuzz --minutes $(MINUTES)

.PHONY: fuzz-api
fuzz-api: MINUTES := 5
fuzz-api: setup ## ask the API whatever its OpenAPI document allows and forbids: make fuzz-api MINUTES=5
	@$(BIN)/python -m scripts.fuzz_api --minutes $(MINUTES)

image: setup ## build the images, run them on a picture, print their sizes: make image TARGETS="watch cpu cuda"
	@test "$$(id -u)" = 0 || { echo "Making a Debian for the base takes root: sudo make image" >&2; exit 1; }
	@for tool in $(IMAGE_TOOLS); do command -v $$tool >/dev/null && continue; \
		command -v apt-get >/dev/null || { echo "make image needs $(IMAGE_TOOLS)." >&2; exit 1; }; \
		echo "Installing $(IMAGE_TOOLS) ..."; export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends $(IMAGE_TOOLS) >/dev/null; break; \
	done
	@$(BIN)/python -m scripts.image $(TARGETS)

demo: setup ## drop sample pictures into a running daemon, draw demo/contact-sheet.png
	@$(BIN)/python -m scripts.demo

page-cost: setup ## what an idle page costs the throughput, as a ratio: make page-cost MODEL=fake IMAGES=1000
	@$(BIN)/python -m scripts.page_cost $(if $(MODEL),--model $(MODEL)) $(if $(IMAGES),--images $(IMAGES))

dashboard: setup services ## write dashboard and rules anew, draw docs/images/dashboard.png from a daemon under load
	@$(BIN)/python -m scripts.monitoring

page-images: setup services ## draw docs/images/page-*.jpg from a running daemon (fetches fonts for Chinese)
	@fc-list :lang=zh | grep -q . || apt-get -qq install -y --no-install-recommends fonts-wqy-microhei fonts-inter fonts-noto-color-emoji >/dev/null || \
		echo "Without a Chinese font the Chinese picture has boxes: install fonts-wqy-microhei." >&2
	@$(BIN)/python -m scripts.page_sheet

training-data: setup ## fetch and prepare what the network learns from (1 GB), into training-data/ or DATA=
	@$(BIN)/python -m inference.corpus --data $(DATA)

train: setup ## train the network: make train MINUTES=120 OUT=runs/nano
	@$(BIN)/python -m inference.training train --out $(OUT) --minutes $(MINUTES) --data $(DATA)

.PHONY: manifests
manifests: setup services $(MANIFEST_TOOLS)/.installed ## hold deploy/k8s against schemas of Kubernetes and operators, checkov, our policies
	@$(MANIFEST_TOOLS)/bin/python -m scripts.manifests
	@$(BIN)/python -m pytest tests/deploy --campaign=full

sheets: setup ## draw docs/images/outputs.jpg and presets.jpg
	@$(BIN)/python -m scripts.outputs_sheet

evaluate: setup ## score the shipped weights beside u2netp and u2net, into runs/evaluation/ (COUNT=100: quicker)
	@$(BIN)/python -m inference.training evaluate --out runs/evaluation --count $(COUNT) --data $(DATA)

calibrate: setup ## fit the confidence to the shipped weights, print and draw what it is worth on real photographs
	@$(BIN)/python -m inference.evaluation.confidence calibrate --data $(DATA)

cascade: setup ## quality against cost of nano with u2net behind it, as a table and docs/images/cascade.png
	@$(BIN)/python -m inference.evaluation.confidence cascade --data $(DATA)

render: setup ## a sheet of training samples, runs/samples.png
	@mkdir -p runs
	@$(BIN)/python -m inference.training render --out runs/samples.png

kernels: setup ## compile inference/kernels/kernels.c, after a change of it
	@$(BIN)/python hatch_build.py

reference: setup ## write docs/metrics.md and the table of docs/models.md from the code
	@$(BIN)/python -m scripts.metrics_page
	@$(BIN)/python -m scripts.models_page

bench: setup ## measure this machine, into runs/bench/ (make bench QUICK=1: under 3 minutes)
	@$(BIN)/alphadrop bench --out runs/bench $(if $(QUICK),--quick)

.PHONY: bench-api
bench-api: setup ## how long synchronous calls take, alone and with a backlog, into runs/bench-api/ (QUICK=1: a minute)
	@$(BIN)/alphadrop bench --only api --out runs/bench-api $(if $(QUICK),--quick)

peers: setup ## the same network in a plain script and in rembg, into runs/peers/
	@$(BIN)/alphadrop bench peers --out runs/peers

sbom: setup ## list what alphadrop is made of, as CycloneDX, into dist/: one file for each image
	@$(BIN)/python -m scripts.supply_chain sbom

provenance: setup ## build the wheel twice, compare, and say of what, into dist/
	@$(BIN)/python -m scripts.supply_chain provenance

gpu-check: setup ## ten minutes on a machine with a GPU, and a report about it in docs/bench/ (OUT=FILE: elsewhere)
	@$(BIN)/python -m scripts.gpu_check $(if $(filter command line environment,$(origin OUT)),--out $(OUT))

format: setup ## put imports, quotes and line breaks in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove what was built, measured or cached; .venv and runs/ stay
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# As variables the pins hold for what builds the package, too: pip makes an environment of its own for that.
$(STAMP): export PIP_CONSTRAINT := $(CURDIR)/constraints-image.txt
$(STAMP): export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints-image.txt
$(STAMP): pyproject.toml constraints.txt constraints-image.txt | $(BIN)/pip
	@echo "Installing into $(VENV) (a few minutes the first time: torch is large) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(MANIFEST_TOOLS)/.installed: deploy/k8s/tools.txt | $(BIN)/pip
	@echo "Installing into $(MANIFEST_TOOLS) ..."
	@$(BIN)/python -m venv $(MANIFEST_TOOLS)
	@$(MANIFEST_TOOLS)/bin/pip install --quiet --disable-pip-version-check -r deploy/k8s/tools.txt
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "alphadrop needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package=python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing $$package ..."; export DEBIAN_FRONTEND=noninteractive; \
			apt-get -qq update && apt-get -qq install -y "$$package" >/dev/null; \
		else \
			echo "$(PYTHON) has no venv module. On Debian and Ubuntu: sudo apt-get install $$package" >&2; exit 1; \
		fi; }
	@$(PYTHON) -m venv $(VENV)
