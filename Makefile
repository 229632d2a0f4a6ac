# Verbs for people and for CI. A bare `make` lists them. `make check` is the gate: what CI runs, and nothing else.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO    ?= go
TOOL  := $(GO) tool -modfile=deploy/tools/go.mod
PKGS  ?= ./...
FROM  ?=           # where `make upgrade-test` comes from; empty: the commit before
UPGRADE ?= upgrade-test # of `make check`; empty where there is no commit before
FUZZ  ?= 2s        # time for each fuzz target
FOR   ?= 10m       # how long `make chaos` strikes
SEED  ?= 0         # of `make chaos`; 0 takes a random one
USERS ?= 0         # idle ones of `make chaos`
TRY   ?=           # a Prometheus for `make dashboards`
ARGS  ?=           # more arguments for `make run`, `make bench`, `make load`, `make growth`, `make fairness` and `make compose-test`
BENCH ?= .         # which of `make microbench`
COUNT ?= 1

.PHONY: help run test check build bench load growth fairness microbench chaos alerts-test compose-test upgrade-test fuzz dashboards dashboards-try tidy rules queries fmt vet staticcheck govulncheck race tidy-diff clean chart

help: ## list the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start everything in one process, with demo data; ARGS="-http-addr :8080" for more
	@$(GO) run ./deploy/cmd/standalone -demo $(ARGS)

test: ## run all tests
	$(GO) test $(PKGS)

check: fmt vet staticcheck rules queries govulncheck race fuzz build $(UPGRADE) tidy-diff ## the gate: everything that CI runs
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

compose-test: ## run docker-compose.yml for real, hurt it under load, and audit (a quarter of an hour; needs Docker); ARGS="-keep"
	$(GO) run ./deploy/docker/cmd/composetest $(ARGS)

upgrade-test: ## replace the processes of the commit before by those of this tree under load, and back, and audit; FROM=6d7f480 for another commit
	$(GO) test -tags upgrade ./deploy/e2e/upgrade -count 1 -timeout 10m $(if $(FROM),-v -from $(strip $(FROM)))

chart: ## hold the chart of deploy/helm against helm itself and Kubernetes' types (both are compiled first: minutes)
	helm=$$(cd deploy/tools/helm && $(GO) tool -n helm) && $(GO) test -tags helm ./deploy/helm -run TestHelmItself -count 1 -helm "$$helm"
	cd deploy/tools/helm && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) test -count 1 ./...

alerts-test: ## let faults of real processes fire alerts in a real Prometheus, and cures clear them (5 minutes; needs prometheus)
	$(GO) test ./deploy/e2e/alerts -run TestFaultsFireAlerts -count 1 -v -timeout 20m -faults

fuzz: ## run every fuzz target shortly; FUZZ=1m for longer
	@deploy/tools/fuzz "$(strip $(FUZZ))"

dashboards: ## write the dashboards from what deploy/grafana says of them; TRY=http://127.0.0.1:9090 asks that Prometheus every query
	@$(GO) run ./deploy/cmd/dashboards $(if $(TRY),-try $(TRY))

dashboards-try: ## ask every query of the dashboards of a real Prometheus that watches a real deployment under load (minutes; needs prometheus)
	@deploy/grafana/try

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

rules:
	@deploy/tools/promtool

queries: # of the dashboards
	$(GO) run ./deploy/cmd/dashboards -rules | promtool check rules /dev/stdin

vet:
	$(GO) vet -tags upgrade ./...

staticcheck:
	$(TOOL) staticcheck -tags upgrade ./...

govulncheck:
	@deploy/tools/vulncheck

race:
	@GO="$(GO)" deploy/tools/race

tidy-diff:
	$(GO) mod tidy -diff
	cd deploy/tools && $(GO) mod tidy -diff
