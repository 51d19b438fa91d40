# Versions of the tools that check and generate. They are kept apart from go.mod so that nothing a tool
# depends on becomes a dependency of Flotilla. dev/tools/install reads this file, too.
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT_PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint

CONTROLLER_GEN_VERSION := v0.21.0
CONTROLLER_GEN_PACKAGE := sigs.k8s.io/controller-tools/cmd/controller-gen

GOTESTSUM_VERSION := v1.13.0
GOTESTSUM_PACKAGE := gotest.tools/gotestsum

CYCLONEDX_GOMOD_VERSION := v1.10.0
CYCLONEDX_GOMOD_PACKAGE := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

# What people install Flotilla with; the version that go.mod has.
HELM_VERSION := v3.21.4
HELM_PACKAGE := helm.sh/helm/v3/cmd/helm

GOVULNCHECK_VERSION := v1.9.0
GOVULNCHECK_PACKAGE := golang.org/x/vuln/cmd/govulncheck
