# Verbs for people and for CI. A bare `make` lists them. `make check` is the gate: what CI runs, and nothing else.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO    ?= go
TOOL  := $(GO) tool -modfile=deploy/tools/go.mod
PKGS  ?= ./...
FUZZ  ?= 3s        # time for each fuzz target
FOR   ?= 10m       # how long `make chaos` strikes
SEED  ?= 0         # of `make chaos`; 0 takes a random one
USERS ?= 0         # idle ones of `make chaos`
ARGS  ?=           # more arguments for `make run`, `make bench`, `make load`, `make growth` and `make fairness`
BENCH ?= .         # which of `make microbench`
COUNT ?= 1

.PHONY: help run test check build bench load growth fairness microbench chaos fuzz tidy fmt vet staticcheck govulncheck race tidy-diff clean

help: ## list the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start everything in one process, with demo data; ARGS="-http-addr :8080" for more
	@$(GO) run ./deploy/cmd/standalone -demo $(ARGS)

test: ## run all tests
	$(GO) test $(PKGS)

check: fmt vet staticcheck govulncheck race fuzz build tidy-diff ## the gate: everything that CI runs
	@echo "check: all good"

build: ## build the binaries into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./deploy/cmd/... ./ingress/cmd/... ./worker/cmd/...

bench: ## measure all that is claimed of the speed, in one table (a quarter of an hour); ARGS="-rounds 1 -for 10s"
	$(GO) run ./deploy/cmd/loadgen bench $(ARGS)

load: ## measure numbers of partitions against comparable servers (minutes); ARGS="-partitions 1,4"
	$(GO) run ./deploy/cmd/loadgen compare $(ARGS)

microbench: ## run the packages' benchmarks; BENCH=Apply COUNT=6 for benchstat
	$(GO) test -run '^$$' -bench '$(strip $(BENCH))' -benchmem -count $(strip $(COUNT)) $(PKGS)

growth: ## measure what partitions and users cost (much of an hour); ARGS="-partitions 1,64 -users 10000,5000000"
	$(GO) run ./deploy/cmd/loadgen growth $(ARGS)

fairness: ## measure what an account that floods does to one that is quiet (minutes); ARGS="-rate-limit 5000"
	$(GO) run ./deploy/cmd/loadgen fairness $(ARGS)

chaos: ## kill, freeze and cut off processes at random under load, and audit; FOR=10m USERS=1000000
	$(GO) test ./deploy/e2e/chaos -run TestChaos -count 1 -v -timeout 0 -for $(strip $(FOR)) -seed $(strip $(SEED)) -users $(strip $(USERS))

fuzz: ## run every fuzz target shortly; FUZZ=1m for longer
	@deploy/tools/fuzz "$(strip $(FUZZ))"

tidy: ## format, and tidy the modules
	gofmt -w $$(git ls-files '*.go')
	$(GO) mod tidy
	cd deploy/tools && $(GO) mod tidy

clean: ## remove what was built, not the data
	rm -rf bin

# The parts of check, each of which can be run alone.

fmt:
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make tidy mends it):"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(TOOL) staticcheck ./...

govulncheck:
	@deploy/tools/vulncheck

race:
	$(GO) test -race -shuffle=on -p 3 ./...

tidy-diff:
	$(GO) mod tidy -diff
	cd deploy/tools && $(GO) mod tidy -diff
