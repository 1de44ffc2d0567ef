# mrcproxy: build, test, release. `make help` lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps of `test` come one after the other, under -j too: whole-daemon tests want the machine for themselves.
.NOTPARALLEL:

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
# The version comes from git describe below. Go's own stamping fails where the checkout belongs to another user.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN       ?= mrcproxy
IMAGE     ?= mrcproxy
FUZZTIME  ?= 100000x
FUZZSHORT ?= 20000x
COVER     ?= cover.out
MODEL_SEEDS ?= 50
MODEL_STEPS ?= 10000
SOAK      ?= 10m
CHAOS     ?= 3m
FLOOD     ?= 60s
HELD      ?= 100000
BENCH     ?= .
ARGS      ?=
DIST      ?= dist
ARCHES    ?= amd64 arm64

# Tools of releases, which the module itself does not require.
NFPM := go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
HELM := go run helm.sh/helm/v3/cmd/helm@v3.18.6
SBOM := go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

# A release has the same bytes whoever builds it, and whenever: the only time in it is that of the commit.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# A version of Debian's begins with a digit, and a hyphen stands before a revision only.
DEB_VERSION = $(shell sed -E 's/^v?([0-9]+[.])/\1/; t dash; s/^/0~/; :dash; s/-/+/g' <<<'$(VERSION)')
DEB_MAINTAINER ?= mrcproxy <root@localhost>

# Debian packages the tests need, each as package:proof. A proof is a command, or a file when it starts with a slash.
# gcc and libc6-dev are for -race; chromium is for the status page's tests, and fonts-dejavu-core for its pictures;
# sip-tester is SIPp; prometheus is for promtool (where an init system runs, its service is started too, and kamailio's:
# `systemctl disable --now prometheus kamailio` if that is not wanted).
DEB_PACKAGES := \
	baresip-core:baresip \
	chromium:chromium \
	fonts-dejavu-core:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf \
	gcc:gcc \
	libc6-dev:/usr/include/stdio.h \
	iproute2:ip \
	kamailio:kamailio \
	kamailio-tls-modules:/usr/lib/$(shell uname -m)-linux-gnu/kamailio/modules/tls.so \
	openssl:openssl \
	prometheus:promtool \
	prometheus-alertmanager:amtool \
	redis-server:redis-server \
	sip-tester:sipp \
	sipsak:sipsak \
	systemd:systemd-analyze \
	tcpdump:tcpdump

# How many tests of the whole daemon may run at once, of those that mostly wait.
DAEMON_PARALLEL ?= 4

# A test binary that runs longer than this is killed, with the stacks of all its goroutines.
TEST_TIMEOUT ?= 20m

.PHONY: allocations badnet man screenshots help deps fmt-check vet build-all test unit fuzz-short daemon soak held scale chaos flood build lint fuzz model cover bench bench-growth microbench demo docker chart binaries deb release release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that tests need, when they are missing (as root)
	@missing=(); \
	for entry in $(DEB_PACKAGES); do \
		proof=$${entry#*:}; \
		if [[ $$proof == /* ]]; then [[ -e $$proof ]] || missing+=("$${entry%%:*}"); \
		else command -v "$$proof" >/dev/null || missing+=("$${entry%%:*}"); fi; \
	done; \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
		echo "make deps: missing: $${missing[*]} (Debian package names), and there is no apt-get here" >&2; exit 1; \
	fi; \
	if (( $$(id -u) != 0 )); then \
		echo "make deps: missing Debian packages: $${missing[*]}. Run this, then make again:" >&2; \
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $${missing[*]}" >&2; exit 1; \
	fi; \
	echo "make deps: installing $${missing[*]}"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}"

fmt-check: ## fail on a Go file that gofmt would change
	@out=$$(gofmt -l .); if [[ -n $$out ]]; then echo "gofmt would change:" >&2; echo "$$out" >&2; exit 1; fi

vet: ## go vet
	go vet ./...

build-all: ## compile every package
	go build ./...

# Every package but the whole-daemon tests, which daemon runs alone.
unit: ## tests of the packages, with the race detector
	@all=$$(go list ./...); \
	pkgs=$$(grep -v -E '/test(/|$$)' <<<"$$all"); \
	echo "go test -race -timeout $(TEST_TIMEOUT) (all but ./test/...)"; \
	go test -race -timeout $(TEST_TIMEOUT) $$pkgs

allocations: ## how often the call path allocates, which the race detector would hide
	go test -count=1 -run Allocations ./proxy/... ./balancer ./health ./internal/metrics

daemon: ## tests of the whole daemon, one package at a time
	go test -race -count=1 -p 1 -parallel $(DAEMON_PARALLEL) -timeout $(TEST_TIMEOUT) ./test/...

soak: deps ## random faults over 8 servers for SOAK (10m)
	MRCPROXY_SOAK=$(SOAK) go test -count=1 -timeout 0 -run TestSoak -v ./test/

# As root: each proxy, server and Redis has a network namespace. MRCPROXY_CHAOS_SEED repeats a run.
chaos: deps ## proxies, servers and Redis killed, halted and cut off at random for CHAOS (3m)
	MRCPROXY_CHAOS=$(CHAOS) go test -count=1 -timeout 0 -run 'TestChaos$$' -v ./test/

held: ## HELD (100000) sessions at once: memory, journal, restart, and what a call costs beside them
	MRCPROXY_HELD=$(HELD) go test -count=1 -v -timeout $(TEST_TIMEOUT) -run 'TestHeld$$' ./test/

scale: ## 50 instances, 2,000 servers and 1 M sessions in virtual time: the table of docs/scaling.md
	MRCPROXY_SCALE=1 go test -count=1 -v -timeout 60m -run TestScale ./test/scale

flood: deps ## garbage and floods for FLOOD (60s); from a minute on, memory has to go back too
	MRCPROXY_FLOOD=$(FLOOD) go test -count=1 -run TestFlood -v ./test/

badnet: deps ## 2,000 sessions on a network that loses, repeats and reorders, through mrcproxy and through Kamailio
	MRCPROXY_COMPARE=1 go test -count=1 -v -timeout $(TEST_TIMEOUT) -run 'TestBadNetwork' ./test/

fuzz-short: ## every fuzz target for FUZZSHORT (20000x)
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(FUZZSHORT)

test: deps fmt-check vet build-all unit allocations fuzz-short daemon release-check ## everything that must pass, from missing packages on

build: ## the static binary, ./mrcproxy
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/mrcproxy

lint: ## golangci-lint by .golangci.yml
	@command -v golangci-lint >/dev/null || { \
		echo "golangci-lint (version 2) is not installed. To install it:" >&2; \
		echo "  go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@latest" >&2; exit 1; }
	golangci-lint run ./...

# Only the packages that have a target are compiled. FUZZTIME is a count of inputs, 100000x, or a time, 10m: until
# Go 1.27 a time can end in "context deadline exceeded" though nothing was found (go.dev/issue/75804), a count cannot.
fuzz: ## every fuzz target for FUZZTIME (100000x)
	@grep -rH --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sort | sed -E 's|/[^/]*:func | |' | \
	while read -r pkg name; do \
		echo "fuzz $$pkg $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$pkg" </dev/null; \
	done

model: ## the proxy among random peers on a bad network: MODEL_SEEDS (50) runs of MODEL_STEPS (10000) each
	MRCPROXY_MODEL_SEEDS=$(MODEL_SEEDS) MRCPROXY_MODEL_STEPS=$(MODEL_STEPS) \
		go test -race -count=1 -v -timeout $(TEST_TIMEOUT) -run 'Model$$' ./proxy ./proxy/transaction

# A statement counts as covered when a test of any of the packages runs it.
cover: ## how much of proxy/... its own tests cover, by package; the profile goes to COVER (cover.out)
	@go test -coverpkg=./proxy/... -coverprofile=$(COVER) ./proxy/... >/dev/null
	@awk 'NR > 1 {p = $$1; sub("/[^/]*$$", "", p); of[$$1] = p; n[$$1] = $$2; if ($$3) hit[$$1]} \
		END {for (b in n) {all += n[b]; sum[of[b]] += n[b]; if (b in hit) {ran += n[b]; got[of[b]] += n[b]}} \
		for (p in sum) printf "%-28s %5.1f %% of %d statements\n", p, 100 * got[p] / sum[p], sum[p]; \
		printf "%-28s %5.1f %% of %d statements\n", "together", 100 * ran / all, all}' $(COVER) | sort

bench: deps ## what a call costs, beside Kamailio and a bare forwarder, over UDP and TCP (ARGS="-rounds 1 -calls 3000"); 10 minutes
	go run ./test/bench $(ARGS)
	go run ./test/bench -net tcp -rounds 3 $(ARGS)

bench-growth: deps ## what a call costs as backends, client sockets, connections and those who watch become more; 30 minutes
	go run ./test/bench -growth $(ARGS)
	go run ./test/bench -growth -net tcp -rate 1000 -only "1 socket,100 sockets,5000 sockets" $(ARGS)

microbench: ## Go benchmarks of the packages (BENCH=regexp)
	@all=$$(go list ./...); \
	go test -run '^$$' -bench '$(BENCH)' -benchmem $$(grep -v -E '/test(/|$$)' <<<"$$all")

demo: ## the proxy with simulated servers and a client (ARGS="--for 20s")
	go run ./cmd/mrcproxy demo $(ARGS)

docker: ## the container image
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE):$(VERSION) .

man: ## the manual pages, man/
	go run ./cmd/mrcproxy man man

screenshots: deps ## the pictures of the status page, docs/images/
	MRCPROXY_SCREENSHOTS=$(CURDIR)/docs/images go test -count=1 ./test/page

binaries:
	@for arch in $(ARCHES); do \
		echo "build $(VERSION) for linux/$$arch"; mkdir -p $(DIST)/$$arch; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' \
			-o $(DIST)/$$arch/mrcproxy ./cmd/mrcproxy; \
	done; \
	go run ./cmd/mrcproxy man $(DIST)/man; go run ./cmd/mrcproxy completion bash >$(DIST)/man/completion.bash

deb: binaries ## Debian packages in DIST (dist), for ARCHES (amd64 arm64)
	@for arch in $(ARCHES); do \
		DIST=$(DIST) ARCH=$$arch DEB_VERSION='$(DEB_VERSION)' DEB_MAINTAINER='$(DEB_MAINTAINER)' \
			$(NFPM) package --packager deb --config deploy/nfpm.yaml --target $(DIST)/; \
	done

release: deb ## archives, Debian packages, SBOMs (CycloneDX) and SHA256SUMS in DIST
	@for arch in $(ARCHES); do \
		name=mrcproxy-$(VERSION)-linux-$$arch; \
		tar --sort=name --mtime=@$$SOURCE_DATE_EPOCH --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
			--transform "s,^,$$name/,;s,^$$name/$(DIST)/$$arch/,$$name/," --format=gnu \
			-cf - README.md LICENSE CHANGELOG.md docs deploy $(DIST)/$$arch/mrcproxy | gzip -n9 >$(DIST)/$$name.tar.gz; \
		$(SBOM) bin -json -std -noserial -notimestamp -version '$(VERSION)' -output $(DIST)/$$name.cdx.json $(DIST)/$$arch/mrcproxy; \
	done
	@cd $(DIST); sha256sum $$(ls -1 | grep -E '[.](tar[.]gz|deb|json)$$') >SHA256SUMS; cat SHA256SUMS

# The second build has another directory and no cache of the first.
release-check: ## what a release for amd64 must be: the same bytes twice, and packages with the expected content
	@rm -rf dist/check; scratch=$$(mktemp -d); trap 'chmod -R u+w "$$scratch"; rm -rf "$$scratch"' EXIT; \
	mkdir "$$scratch/tree"; tar --exclude=./.git --exclude=./dist -cf - . | tar -xf - -C "$$scratch/tree"; \
	make -s release DIST=dist/check ARCHES=amd64 VERSION='$(VERSION)' >&2; \
	make -s -C "$$scratch/tree" binaries DIST=dist/check ARCHES=amd64 VERSION='$(VERSION)' GOCACHE="$$scratch/cache" >&2; \
	make -s -C "$$scratch/tree" -o binaries release DIST=dist/check ARCHES=amd64 VERSION='$(VERSION)' >&2; \
	diff dist/check/SHA256SUMS "$$scratch/tree/dist/check/SHA256SUMS"; \
	deploy/check-release dist/check; \
	echo "the same bytes twice:"; cat dist/check/SHA256SUMS; rm -rf dist/check

chart: ## Helm checks the chart and writes deploy/kubernetes/mrcproxy.yaml from it (minutes: it builds Helm)
	$(HELM) lint --strict --kube-version 1.30.0 deploy/helm/mrcproxy
	$(HELM) template mrcproxy deploy/helm/mrcproxy --kube-version 1.30.0 --namespace mrcproxy --set serviceMonitor.enabled=true \
		>deploy/kubernetes/mrcproxy.yaml

clean: ## remove what build and release made
	rm -rf $(BIN) $(DIST)
