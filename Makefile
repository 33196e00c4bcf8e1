SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every target that needs a cluster takes the one of KUBECONFIG, and without it the throw-away cluster.
CLUSTER := tests/cluster/cluster
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)
IMAGE ?= hera:$(VERSION)

##@ Develop

help: ## Print the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the program
	cargo build

fmt: ## Format the code
	cargo fmt

lint: ## Check format, lints, scripts, and licences and advisories of the dependencies
	hack/lint.sh

manifests: ## Write what is generated from the code: CRDs, roles, chart, documentation
	UPDATE_GOLDEN=1 cargo test --test manifests --test docs

check-manifests: ## Check that what is generated is up to date
	cargo test --test manifests --test docs

run: install ## Run the manager here, against the cluster, with its CRDs installed
	source hack/cluster.sh && cargo run -- run

clean: ## Remove what cargo built (the throw-away cluster's programs stay in its cache)
	cargo clean

##@ Test

test: ## Run all tests and print totals
	hack/test.sh

test-unit: ## Run the tests that need nothing
	hack/test.sh unit

test-api: ## Run the tests of the Kubernetes API
	hack/test.sh api

test-engine: ## Run the tests of the Redis and Valkey servers
	hack/test.sh engine

test-e2e: ## Run the end-to-end tests
	hack/test.sh e2e

test-long: ## Run what takes longer than `make test` may: wide fault sweeps, many more random cases
	HERA_TEST_LONG=1 hack/test.sh

bench: ## Measure, and write the tables of docs/performance.md (nothing else should run on the machine)
	hack/bench.sh

##@ Throw-away cluster

cluster-build: ## Build the cluster's programs and images, without starting it
	$(CLUSTER) build && $(CLUSTER) image

cluster-up: ## Start it, and print the KUBECONFIG to use
	$(CLUSTER) up

cluster-down: ## Stop it and remove everything that it made
	$(CLUSTER) down

##@ Images

image: ## Build an image archive without a container engine, and load it into the throw-away cluster if it runs
	hack/image.sh

docker-build: ## Build the image IMAGE with Docker
	docker build --tag $(IMAGE) --build-arg HERA_COMMIT="$$(git rev-parse --short HEAD)" .

##@ Deploy

demo: ## From nothing to a Redis with three pods that survives the death of its primary
	hack/demo.sh

install: ## Install the CRDs
	source hack/cluster.sh && kubectl apply --server-side -f crds

uninstall: ## Delete the CRDs, and with them every object of their kinds
	source hack/cluster.sh && kubectl delete --ignore-not-found -f crds

deploy: ## Install the CRDs and the manager by kustomize
	source hack/cluster.sh && load_hera && kubectl apply --server-side -k config/default
	source hack/cluster.sh && kubectl -n hera-system rollout status deployment/hera --timeout=5m

undeploy: ## Delete the manager; the CRDs and their objects stay
	source hack/cluster.sh && kubectl delete --ignore-not-found -k config/rbac && kubectl delete --ignore-not-found -k config/manager

helm-lint: ## Check the chart
	source hack/tools.sh && helm lint --strict charts/hera

.PHONY: help build fmt lint manifests check-manifests run clean test test-unit test-api test-engine test-e2e test-long bench \
	cluster-build cluster-up cluster-down image docker-build demo install uninstall deploy undeploy helm-lint
