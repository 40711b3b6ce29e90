# Warren's targets; `make help` lists them. Everything that is built or fetched lives in .cache and bin.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/.cache/tools
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
VERSION := $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/warren-mesh/warren/internal/version.tag=$(VERSION)
IMAGE ?= ghcr.io/warren-mesh/warren:$(VERSION)
LAB := sudo -E bin/warren-lab
ifeq ($(shell id -u),0)
LAB := bin/warren-lab
endif
NODES ?= 3
FAMILIES ?= dual
UNDERLAY ?= ipv4

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: demo
demo: deps build control-plane ## Three nodes on this machine: wg show, ping, iperf3, and a capture of the wire
	$(LAB) demo

.PHONY: demo-cluster
demo-cluster: deps deps-cluster build control-plane node-programs ## Three nodes with real kubelets: kubectl apply -f, pods, a service, wg show, and a capture of the wire
	$(LAB) cluster demo

.PHONY: test
test: deps deps-kernel deps-conformance build control-plane node-programs lint ## Every test, lint included (needs root: namespaces and real packets)
	$(MAKE) --no-print-directory -j 2 --output-sync=target gate-unit gate-control-plane
	./.ci/timed "WireGuard of the kernel, in a virtual machine" go run ./e2e/vm -short -timeout 20m
	$(MAKE) --no-print-directory -j 2 --output-sync=target gate-fuzz gate-conformance
	./.ci/timed "bench of the mesh at scale, short" go run ./bench/mesh -short
	./.ci/timed "bench of policy at scale, short" go run ./bench/policy -short
	./.ci/timed "scenarios with real packets" go test -count=1 -timeout 40m -parallel 3 -v ./e2e

# What the gate does side by side, since each waits a good part of its time.
.PHONY: gate-unit
gate-unit: ## Half of what test does side by side: unit and kernel tests, rulesets and cyclonus
	./.ci/timed "unit and kernel tests" go test -count=1 -timeout 15m $$(go list ./... | grep -vE '/e2e$$|/e2e/cluster$$|/e2e/lab|/internal/kube$$')
	./.ci/timed "rulesets against policy's specification" go test -count=1 ./policy -run '^TestDifferential$$' -policy.for=40s
	./.ci/timed "policy's specification against cyclonus" go test -C policy/cyclonus -count=1 . -policy.for=30s

.PHONY: gate-control-plane
gate-control-plane: ## The other half: control plane, lab and API, packets, the manifests
	./.ci/timed "control plane, lab and API tests" go test -count=1 -timeout 15m -p 1 ./internal/kube ./e2e/lab/...
	./.ci/timed "packets against policy's specification" go test -count=1 ./policy/nft -run '^TestDifferential$$' -policy.for=50s
	./.ci/timed "chart, schemas, alerts and dashboard" go test -C manifests/render -count=1 .

# Fuzzing takes what the other leaves: others' suites wait most of their time.
.PHONY: gate-fuzz
gate-fuzz: ## Every fuzz target for 20 s
	./.ci/timed "fuzzing, 20 s a target" nice -n 19 ./.ci/fuzz 20s

.PHONY: gate-conformance
gate-conformance: ## A few cases of each of others' suites
	./.ci/timed "a few cases of others' suites, on real kubelets" env WARREN_BIN=bin go run ./e2e/conformance -quick -name gate

.PHONY: test-kernel
test-kernel: deps-kernel deps-cluster control-plane node-programs ## What drives the kernel, and the scenarios, on Debian's kernel with WireGuard in a virtual machine
	go run ./e2e/vm -timeout 240m
	go run ./e2e/vm -clocks

.PHONY: test-unit
test-unit: ## Only the tests that need neither root nor a control plane
	go test -count=1 ./mesh ./crypto/... ./ipam ./policy ./internal/agent ./internal/cli ./internal/house ./internal/loop ./internal/socket ./cmd/...

.PHONY: fuzz
fuzz: ## Every fuzz target, or those that match TARGETS, for FUZZTIME (1h; what found nothing in that is kept in docs/fuzzing.md)
	./.ci/fuzz $(or $(FUZZTIME),1h) '$(TARGETS)' $(if $(FUZZTIME),,docs/fuzzing.md)

.PHONY: fuzz-policy
fuzz-policy: deps ## Random policies and events for MINUTES (60): packets, rulesets and cyclonus against the specification, from SEED (needs root)
	./.ci/fuzz-policy $(or $(MINUTES),60) $(or $(SEED),0)

.PHONY: build
build: ## warrend, warren, warren-cni and warren-lab into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/... ./e2e/lab/warren-lab

.PHONY: image
image: ## The container image, named IMAGE, as bin/warren-image.tar (OCI; amd64 and arm64), its bills of materials beside it; prints its digest
	go run -C manifests/image . -source $(CURDIR) -out $(CURDIR)/bin/warren-image.tar -reference $(IMAGE) -version $(VERSION) \
	  -revision "$$(git rev-parse HEAD 2>/dev/null)" -date "$$(git log -1 --format=%ct 2>/dev/null || echo 0)" -ldflags "$(LDFLAGS)"

.PHONY: image-digest
image-digest: ## The digest of the image that was built last
	@go run -C manifests/image . -digest -out $(CURDIR)/bin/warren-image.tar

.PHONY: test-image
test-image: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Build the image twice, in two folders, and look at all that it promises (programs are started there as root only)
	go -C manifests/image mod tidy -diff
	cd manifests/image && $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) run ./...
	go test -C manifests/image -count=1 .

.PHONY: control-plane
control-plane: ## Build the real etcd, kube-apiserver and controller-manager once (not where KUBEBUILDER_ASSETS is set)
	@go run ./e2e/lab/cluster/build > /dev/null

.PHONY: deps
deps: ## Install what the lab runs (ip, nft, wg, iperf3, tcpdump ...) by apt-get, where it is missing
	@./.ci/deps

.PHONY: deps-kernel
deps-kernel: ## deps, and what the virtual machine of test-kernel needs (qemu)
	@./.ci/deps kernel

.PHONY: deps-cluster
deps-cluster: ## deps, and what nodes with real kubelets need (containerd, runc)
	@./.ci/deps cluster

.PHONY: node-programs
node-programs: ## Build the real kubelet, kube-proxy, kube-scheduler and kubectl, and agnhost, once
	@go run ./e2e/lab/cluster/build -nodes > /dev/null

.PHONY: cluster-up
cluster-up: deps-cluster build control-plane node-programs ## A cluster of NODES (2) real nodes that stays up; CNI=warren|reference|none CLUSTER_ARGS=...
	WARREN_BIN=bin $(LAB) cluster up --nodes $(if $(filter file,$(origin NODES)),2,$(NODES)) --cni $(or $(CNI),warren) $(CLUSTER_ARGS)

.PHONY: cluster-down
cluster-down: build ## Take the cluster down, and whatever a killed one left
	$(LAB) cluster down

.PHONY: test-cluster
test-cluster: deps-cluster build control-plane node-programs ## Real kubelets on Warren and on the reference plugins; upgrades, nodes that come and go, the chart, uninstalling (needs root)
	go test -count=1 -timeout 40m -v ./e2e/cluster
	$(LAB) cluster demo < /dev/null | cat

.PHONY: test-permissions
test-permissions: deps build control-plane ## Each verb that RBAC grants agents taken away in turn: they name it (needs root)
	go test -count=1 -timeout 15m -v -run '^TestWithoutAPermission$$' ./e2e

.PHONY: conformance
conformance: deps-conformance build control-plane node-programs ## Others' test suites on real kubelets: SUITES=netpol,network,policyapi,cyclonus (all), FOCUS=... of one; writes docs/conformance.md (needs root)
	for module in kubernetes coredns policyapi; do go -C e2e/conformance/$$module mod tidy -diff || exit 1; done
	WARREN_BIN=bin go run ./e2e/conformance $(if $(SUITES),-suites $(SUITES)) $(if $(FOCUS),-focus '$(FOCUS)') $(CONFORMANCE_ARGS)

.PHONY: conformance-quick
conformance-quick: deps-conformance build control-plane node-programs ## A few cases of each suite; writes nothing (needs root)
	WARREN_BIN=bin go run ./e2e/conformance -quick $(CONFORMANCE_ARGS)

.PHONY: deps-conformance
deps-conformance: ## deps-cluster, and what the suites call inside containers (dig, nc, curl)
	@./.ci/deps conformance

.PHONY: lab-up
lab-up: deps build control-plane ## A lab of NODES (3) nodes that stays up; FAMILIES=ipv4|ipv6|dual UNDERLAY=ipv4|ipv6|dual
	$(LAB) up --nodes $(NODES) --families $(FAMILIES) --underlay $(UNDERLAY)

.PHONY: lab-down
lab-down: build ## Take the lab down, and whatever a killed test left
	$(LAB) down

.PHONY: lab-shell
lab-shell: ## A shell on a node (NODE=n1) or in a pod (POD=n1/p1)
	$(LAB) shell $(if $(POD),--pod $(POD),--node $(or $(NODE),n1))

.PHONY: bench-throughput
bench-throughput: deps build ## Pod to pod through Warren against WireGuard configured by hand
	CGO_ENABLED=0 go build -trimpath -o bin/wireguard-go golang.zx2c4.com/wireguard
	go run ./bench/throughput

.PHONY: bench-mesh
bench-mesh: deps build control-plane ## One agent among 100, 1,000 and 5,000 Nodes, against the same by hand
	go run ./bench/mesh

.PHONY: bench-cni
bench-cni: deps build control-plane ## ADD and DEL of pods against ptp and host-local, alone and 50 at once
	go run ./bench/cni

.PHONY: bench-policy
bench-policy: deps build control-plane ## Policy with 1,000, 10,000 and 100,000 pods and 10,000 policies: events, first sync, packets (needs root)
	go run ./bench/policy

.PHONY: chaos-cni
chaos-cni: ## FAULTS (1000) times the agent or the plugin is killed at random while pods come and go, from SEED
	go test -count=1 -timeout 120m -v -run '^TestChaos$$' ./internal/pods -chaos.faults=$(or $(FAULTS),1000) -chaos.seed=$(or $(SEED),0)

.PHONY: chaos
chaos: deps build control-plane ## FAULTS (1000) random faults in a row from SEED; writes docs/chaos.md
	go test -count=1 -timeout 240m -v -run '^TestChaos$$' ./e2e -chaos.faults=$(or $(FAULTS),1000) -chaos.seed=$(or $(SEED),0) -chaos.report=docs/chaos.md

.PHONY: race-blocks
race-blocks: control-plane ## Two nodes race for BLOCKS (10000) blocks against the real API server
	go test -count=1 -timeout 120m -v -run '^TestAPIServer$$/^two_nodes_race_for_a_block$$' ./internal/kube -blocks.races=$(or $(BLOCKS),10000)

.PHONY: soak
soak: deps build control-plane ## Eight nodes under churn and traffic for MINUTES (20)
	go test -count=1 -timeout $$(($(or $(MINUTES),20)+20))m -v -run '^TestSoak$$' ./e2e -soak.for=$(or $(MINUTES),20)m

.PHONY: resilience
resilience: deps deps-kernel build control-plane ## What traffic notices of restarts, outages and upgrades; writes docs/resilience.md
	mkdir -p bench/out
	go test -count=1 -timeout 30m -v -run '^(TestUndisturbed|TestUpgrade)$$' ./e2e | tee bench/out/userspace.log
	go run ./e2e/vm -timeout 60m -run '^(TestUndisturbed|TestUpgrade)$$' e2e | tee bench/out/kernel.log
	go run ./bench/resilience bench/out/userspace.log bench/out/kernel.log

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION) ## golangci-lint, govulncheck, go mod tidy
	./.ci/timed "golangci-lint" $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) run ./...
	./.ci/timed "govulncheck" ./.ci/vulncheck $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)
	go mod tidy -diff
	go -C policy/cyclonus mod tidy -diff
	go -C manifests/render mod tidy -diff
	go -C manifests/helm mod tidy -diff

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	./.ci/timed "building golangci-lint" env GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION):
	./.ci/timed "building govulncheck" env GOBIN=$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv $(TOOLS)/govulncheck $@

.PHONY: generate
generate: ## Deepcopy functions and CRDs from the types in api/
	go generate ./api/...

.PHONY: manifests
manifests: ## From manifests/base: manifests/warren.yaml, the one file for kubectl apply -f, and the Helm chart's copies
	go run -C manifests/render . -o ../warren.yaml ../base
	cp manifests/base/{warren.dev_*,serviceaccount,rbac,admission}.yaml manifests/chart/warren/files/
	cp manifests/overlays/policy-only/rbac.yaml manifests/chart/warren/files/policy-only/
	cp manifests/monitoring/{podmonitor.yaml,rules.yaml,dashboard.json} manifests/chart/warren/files/monitoring/

.PHONY: test-modes
test-modes: deps build control-plane ## Warren beside other plugins, bridge and ptp with host-local: their mesh, or their policy (needs root)
	go test -count=1 -timeout 40m -v -run '^Test(Mesh|Policy)Only' ./e2e

.PHONY: test-migration
test-migration: deps build control-plane ## A cluster on Flannel's layout becomes Warren's node by node, under traffic (needs root)
	go test -count=1 -timeout 20m -v -run '^TestMigration' ./e2e

.PHONY: test-manifests
test-manifests: control-plane ## The real API server takes manifests/warren.yaml and every overlay, the Helm chart says the same; schemas, helm lint, alerts
	./.ci/timed "the real API server takes the manifests" go test -count=1 -v -run '^(TestOneFile|TestCluster)$$/^what users apply$$' ./e2e/lab/cluster
	./.ci/timed "chart, schemas, alerts and dashboard" go test -C manifests/render -count=1 .

.PHONY: clean
clean: ## Remove bin/ and .cache/
	rm -rf bin .cache
