# Everything a developer, CI or a release runs. `make help` lists it. Needs Go, git, make, bash and, for the race
# detector, a C compiler; whatever else is needed is built from Go modules, once, into the user's cache.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

UNIT := ./pkg/... ./cmd/... ./dev/...
INTEGRATION := ./integrationtests/...
# Those on real nodes are apart: they need root.
NODES := ./e2e/nodes
E2E := $(addprefix ./,$(filter-out e2e/nodes,$(wildcard e2e/*)))

# -race needs cgo, and so a C compiler.
RACE ?= $(shell command -v $$($(GO) env CC) >/dev/null && echo -race)
# Arguments for `go test`, such as RUN='-run TestName'.
RUN ?=

tool = $$(dev/tools/install $(1))
step = @printf '\n==> %s\n' '$(1)'
# testing FORMAT,FLAGS,PACKAGES: shows progress, and says again at the end what failed.
testing = "$(call tool,gotestsum)" --format $(1) --format-hide-empty-pkg -- $(RACE) $(2) $(RUN) $(3)

##@ Build

.PHONY: build
build: ## Build the binaries into bin/
	$(call step,build)
	$(GO) build -o bin/ ./cmd/...

.PHONY: generate
generate: ## Write the generated files anew: deepcopy and CRDs
	$(call step,generate)
	dev/tools/generate.sh

.PHONY: images
images: ## Build the container images with buildah or docker
	dev/tools/images "$(VERSION)"

.PHONY: clean
clean: ## Remove what was built (the user's cache keeps tools and control planes)
	rm -rf bin dist

##@ Check

.PHONY: test
test: verify lint test-unit test-integration test-e2e ## Everything a change must pass: verify, lint, unit, integration, one end-to-end story
	$(call step,all tests passed)

.PHONY: test-unit
test-unit: ## Unit tests: nothing outside of the process
	$(call step,unit tests)
	$(call testing,standard-quiet,-short,$(UNIT))

.PHONY: test-integration
test-integration: controlplane ## Integration tests: the real controllers against a real API server
	$(call step,integration tests)
	$(call testing,testname,-short -count=1 -timeout 15m,$(INTEGRATION))

.PHONY: test-e2e
test-e2e: controlplane ## End-to-end: the real binaries on three real control planes
	$(call step,end-to-end tests)
	$(call testing,testname,-short -count=1 -timeout 20m -p 1,$(E2E))

.PHONY: test-long
test-long: controlplane ## The same tests with the stories that take long
	$(call step,all tests with those that take long)
	$(call testing,testname,-count=1 -timeout 60m -p 1,$(UNIT) $(INTEGRATION) $(E2E))
	$(MAKE) e2e-nodes

.PHONY: e2e-nodes
e2e-nodes: controlplane ## Charts and images in real pods on two clusters with real nodes (Linux, root; else it says why not)
	$(call step,end-to-end tests on real nodes)
	dev/tools/node-packages
	$(call testing,standard-verbose,-count=1 -timeout 60m,$(NODES))

# How long each fuzz target runs.
FUZZTIME ?= 1m

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (1m), one after the other
	$(call step,fuzzing $(FUZZTIME) per target)
	dev/tools/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## Lint, with the layers of docs/architecture.md
	$(call step,lint)
	"$(call tool,golangci-lint)" run

.PHONY: fmt
fmt: ## Format the code
	"$(call tool,golangci-lint)" fmt

.PHONY: verify
verify: ## Prove that the generated files are up to date
	$(call step,verify)
	dev/tools/verify

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities (needs the network)
	"$(call tool,govulncheck)" ./...

##@ Playground: a hub, two downstream clusters and a git server, in .dev/

.PHONY: demo
demo: ## Tell the whole story once, with measured times, and tear everything down
	$(GO) run ./dev/playground demo

.PHONY: up
up: ## Start the playground
	$(GO) run ./dev/playground up

.PHONY: down
down: ## Stop the playground and remove it
	$(GO) run ./dev/playground down

.PHONY: bench
bench: ## Measure on the playground how long changes take (after `make up`)
	$(GO) run ./dev/bench edit
	$(GO) run ./dev/bench commit
	$(GO) run ./dev/bench drift
	$(GO) run ./dev/bench away --rounds 3

.PHONY: bench-agent
bench-agent: ## Measure an agent with a thousand releases
	$(GO) run ./dev/bench releases

.PHONY: bench-hub
bench-hub: ## Measure the hub with a simulated fleet, beside what its API server can do alone
	$(GO) run ./dev/bench hub

.PHONY: controlplane
controlplane: ## Build the Kubernetes control plane for tests and playground (once, into the user's cache)
	$(GO) run ./dev/playground build

##@ Help

.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
