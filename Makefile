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
FUZZTIME  ?= 10s
FUZZSHORT ?= 2s
COVER     ?= cover.out
MODEL_SEEDS ?= 50
MODEL_STEPS ?= 10000
SOAK      ?= 10m
FLOOD     ?= 60s
HELD      ?= 100000
BENCH     ?= .
ARGS      ?=

# Debian packages the tests need, each as package:proof. A proof is a command, or a file when it starts with a slash.
# gcc and libc6-dev are for -race; sip-tester is SIPp; prometheus is for promtool (where an init system runs, its
# service is started too, and kamailio's: `systemctl disable --now prometheus kamailio` if that is not wanted).
DEB_PACKAGES := \
	baresip-core:baresip \
	gcc:gcc \
	libc6-dev:/usr/include/stdio.h \
	iproute2:ip \
	kamailio:kamailio \
	kamailio-tls-modules:/usr/lib/$(shell uname -m)-linux-gnu/kamailio/modules/tls.so \
	openssl:openssl \
	prometheus:promtool \
	redis-server:redis-server \
	sip-tester:sipp \
	sipsak:sipsak

# A test binary that runs longer than this is killed, with the stacks of all its goroutines.
TEST_TIMEOUT ?= 20m

.PHONY: help deps fmt-check vet build-all test unit fuzz-short daemon soak flood build lint fuzz model cover bench demo docker clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

daemon: ## tests of the whole daemon, one package at a time
	go test -race -count=1 -p 1 -timeout $(TEST_TIMEOUT) ./test/...

soak: deps ## random faults over 8 servers for SOAK (10m)
	MRCPROXY_SOAK=$(SOAK) go test -count=1 -timeout 0 -run TestSoak -v ./test/

held: ## HELD (100000) sessions at once: memory, journal, restart, and what a call costs beside them
	MRCPROXY_HELD=$(HELD) go test -count=1 -v -timeout $(TEST_TIMEOUT) -run 'TestHeld$$' ./test/

flood: deps ## garbage and floods for FLOOD (60s); from a minute on, memory has to go back too
	MRCPROXY_FLOOD=$(FLOOD) go test -count=1 -run TestFlood -v ./test/

fuzz-short: ## every fuzz target for FUZZSHORT (2s)
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(FUZZSHORT)

test: deps fmt-check vet build-all unit fuzz-short daemon ## everything that must pass, from missing packages on

build: ## the static binary, ./mrcproxy
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/mrcproxy

lint: ## golangci-lint by .golangci.yml
	@command -v golangci-lint >/dev/null || { \
		echo "golangci-lint (version 2) is not installed. To install it:" >&2; \
		echo "  go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@latest" >&2; exit 1; }
	golangci-lint run ./...

# Only the packages that have a target are compiled.
fuzz: ## every fuzz target for FUZZTIME (10s)
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

bench: ## Go benchmarks (BENCH=regexp)
	@all=$$(go list ./...); \
	go test -run '^$$' -bench '$(BENCH)' -benchmem $$(grep -v -E '/test(/|$$)' <<<"$$all")

demo: ## the proxy with simulated servers and a client (ARGS="--for 20s")
	go run ./cmd/mrcproxy demo $(ARGS)

docker: ## the container image
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE):$(VERSION) .

clean: ## remove what build made
	rm -f $(BIN)
