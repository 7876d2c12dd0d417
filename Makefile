# SPDX-License-Identifier: Apache-2.0

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := 2.15.0
H2SPEC_VERSION   := v2.2.1+incompatible
GRPC_VERSION     := v1.85.0
HELM_VERSION     := v4.3.1
GEN_GO_VERSION   := v1.36.12
GEN_GRPC_VERSION := v1.6.2
# How long `make fuzz` spends on each fuzz test, and how often `make
# microbench` repeats each benchmark.
FUZZTIME ?= 10s
COUNT    ?= 1

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/sluice-mesh/sluice/cmd/internal/boot.version=$(VERSION)

.PHONY: help
help: ## print what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sluice, and bin/sluice-proxy, the data plane alone
	CGO_ENABLED=0 go build -trimpath -pgo cmd/sluice/default.pgo -ldflags '$(LDFLAGS)' -o bin/ ./cmd/sluice ./cmd/sluice-proxy

# For which machines images are made, and what programs in them trust.
PLATFORMS   ?= amd64 arm64
AUTHORITIES ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)

.PHONY: images
images: ## images of sluice and sluice-proxy as OCI layouts in bin/images, without Docker
	@for arch in $(PLATFORMS); do \
		CGO_ENABLED=0 GOARCH=$$arch go build -trimpath -pgo cmd/sluice/default.pgo -ldflags '$(LDFLAGS)' -o bin/images/$$arch/ ./cmd/sluice ./cmd/sluice-proxy; \
	done
	@for program in sluice sluice-proxy; do \
		rm -rf bin/images/$$program; \
		go run ./deploy/oci -out bin/images/$$program -tag $(VERSION) $(if $(AUTHORITIES),-authorities $(AUTHORITIES)) \
			$$(for arch in $(PLATFORMS); do echo linux/$$arch=bin/images/$$arch/$$program; done); \
		echo "bin/images/$$program:$(VERSION)"; \
	done

.PHONY: run
run: build ## build, then start the lab: a shop in two versions behind a gateway
	@exec bin/sluice lab

.PHONY: test
test: ## unit, property, in-process and end-to-end tests (needs Go, git, make)
	go test -timeout 20m ./...
	@echo "make test: passed. Left out: the commands of the documents if curl is missing, the race detector and the linter (make check), other programs (make test-peers), long sieges (make test-slow), most of what befalls control planes (make test-control), long chaos (make test-chaos, make soak), fuzzing beyond the seeds (make fuzz)."

.PHONY: test-peers
test-peers: conformers ## compare with programs that others wrote (needs HAProxy, nginx, testssl, openssl, h2load)
	go test -tags peers -timeout 30m ./test/peers/... ./test/wire/...

.PHONY: test-slow
test-slow: ## besiege the binary with many slow clients and overload (90 seconds; needs slowhttptest)
	go test -tags slow -count 1 -timeout 20m -v ./test/siege
	go test -count 1 -timeout 20m -v -run '^TestKilled$$' ./control/store -store.rounds 500

.PHONY: test-chaos
test-chaos: ## origins restarted, killed and out of order under 1,000 requests a second (2 minutes)
	go test -count 1 -timeout 20m -v -run '^TestChaos$$' ./test/chaos -chaos.time 100s

.PHONY: test-control
test-control: ## control planes killed, hung, parted, lost, full and wrong, while clients count failures (1 minute; needs root and ip)
	go test -count 1 -timeout 15m -parallel 4 -v ./test/control -control.all

# What kube-apiserver says that it is; charts and clients look at it.
KUBE_VERSION = $(shell go -C test/kube/kubebed list -m -f '{{.Version}}' k8s.io/kubernetes)
KUBE_LDFLAGS = -s -w $(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version,\
	-X $(package).gitVersion=$(KUBE_VERSION) -X $(package).gitMajor=1 \
	-X $(package).gitMinor=$(word 2,$(subst ., ,$(KUBE_VERSION))) -X $(package).gitTreeState=clean)

.PHONY: kubebed
kubebed: # etcd, kube-apiserver, kube-controller-manager and kubectl, to test with (10 minutes the first time)
	CGO_ENABLED=0 go -C test/kube/kubebed build -trimpath -ldflags '$(KUBE_LDFLAGS)' -o $(CURDIR)/bin/kubebed .

.PHONY: helm
helm: # installs charts (3 minutes the first time)
	@go version -m bin/helm 2>/dev/null | grep -qF '$(HELM_VERSION)' || \
		CGO_ENABLED=0 GOBIN=$(CURDIR)/bin go install helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)

.PHONY: manifests
manifests: helm # what the chart comes to, for those who do without Helm
	cp deploy/kubernetes/sluicegateways.yaml deploy/helm/sluice/files/
	bin/helm template sluice deploy/helm/sluice --namespace sluice > deploy/kubernetes/sluice.yaml

.PHONY: test-kube
test-kube: kubebed helm ## prove what Kubernetes is needed for against a real one (needs root)
	go -C test/kube test -count 1 -timeout 20m -v ./...

.PHONY: soak
soak: ## the same for an hour; prints what holds throughout
	go test -count 1 -timeout 3h -v -run '^TestChaos$$' ./test/chaos -chaos.time 1h

.PHONY: race
race: ## the tests of make test under the race detector (needs a C compiler)
	go test -race -timeout 30m ./...

.PHONY: linter
linter:
	@[ "$$(bin/golangci-lint version --short 2>/dev/null)" = "$(GOLANGCI_VERSION)" ] || \
		GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION)

.PHONY: conformers
conformers: # h2spec, and the client and server of gRPC's interoperability tests
	@go version -m bin/h2spec 2>/dev/null | grep -qF '$(H2SPEC_VERSION)' || \
		GOBIN=$(CURDIR)/bin go install github.com/summerwind/h2spec/cmd/h2spec@$(H2SPEC_VERSION)
	@for side in client server; do \
		go version -m "bin/grpc-interop/$$side" 2>/dev/null | grep -qF '$(GRPC_VERSION)' || \
			GOBIN=$(CURDIR)/bin/grpc-interop go install google.golang.org/grpc/interop/$$side@$(GRPC_VERSION); \
	done

.PHONY: lint
lint: linter ## run the linters
	bin/golangci-lint run ./...
	cd test/kube && $(CURDIR)/bin/golangci-lint run ./...

.PHONY: fmt
fmt: linter ## format the code
	bin/golangci-lint fmt ./...

.PHONY: generators
generators: # what writes the Go files of protobuf
	@go version -m bin/protoc-gen-go 2>/dev/null | grep -qF '$(GEN_GO_VERSION)' || \
		GOBIN=$(CURDIR)/bin go install google.golang.org/protobuf/cmd/protoc-gen-go@$(GEN_GO_VERSION)
	@go version -m bin/protoc-gen-go-grpc 2>/dev/null | grep -qF '$(GEN_GRPC_VERSION)' || \
		GOBIN=$(CURDIR)/bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(GEN_GRPC_VERSION)

.PHONY: generate
generate: generators ## write generated files anew (needs protoc)
	go generate ./...

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME (10s)
	@for pkg in $$(go list ./...); do \
		for name in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: cover
cover: ## write the coverage of the tests to cover.out and print the total
	go test -coverpkg ./... -coverprofile cover.out ./...
	@go tool cover -func cover.out | tail -n 1

.PHONY: bench
bench: build ## measure beside HAProxy and nginx, as far as installed, into docs/benchmarks.md (8 minutes)
	bin/sluice bench suite --short --out docs/benchmarks.md

.PHONY: bench-full
bench-full: build ## the same at length (22 minutes)
	bin/sluice bench suite --out docs/benchmarks.md

.PHONY: bench-control
bench-control: ## measure the control plane with 1,000 proxies and 10,000 gateways, into docs/benchmarks-control.md (3 minutes); fails if a goal is missed
	go test -count 1 -timeout 30m -v -run '^TestScale' ./test/control -scale.full -scale.out ../../docs/benchmarks-control.md

.PHONY: microbench
microbench: ## run the benchmarks of the code, COUNT times each (1; 10 for benchstat)
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

.PHONY: pgo
pgo: build ## make the profile that guides the build anew (1 minute; needs curl)
	bench/pgo.sh

.PHONY: check
check: linter ## all that a change must pass: format, generated files, lint, tests with race
	bin/golangci-lint fmt --diff ./...
	@before=$$(git status --porcelain; git diff); $(MAKE) --no-print-directory generate; \
		after=$$(git status --porcelain; git diff); \
		[ "$$before" = "$$after" ] || { echo "make generate changed files; commit what it wrote:"; git status --short; exit 1; }
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory race

.PHONY: clean
clean: ## remove what was built
	rm -rf bin cover.out
