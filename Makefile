# Everything here but build-openssl needs Go only; lint installs its tool by itself, the first time, in ./bin.
GO ?= go
BIN := $(CURDIR)/bin
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
GOLANGCI := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)
FUZZTIME ?= 10s
BENCHTIME ?= 1s

.DEFAULT_GOAL := help
.PHONY: help build build-openssl demo fmt lint vet test race cover fuzz-short bench real chaos vuln tidy sdk check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary, ./bin/worker, without a debugger's tables as in the image
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o $(BIN)/worker ./cmd/worker

build-openssl: ## the same, signing with OpenSSL (C compiler, pkg-config, libssl-dev)
	CGO_ENABLED=1 $(GO) build -tags openssl,netgo,osusergo -trimpath -ldflags=-s -o $(BIN)/worker ./cmd/worker

demo: ## broker, Redis, API, worker and ops page in one process
	$(GO) run ./cmd/worker demo

fmt: $(GOLANGCI) ## format and sort imports
	$(GOLANGCI) fmt ./...

lint: $(GOLANGCI) ## every linter of .golangci.yml
	$(GOLANGCI) run ./...

vet: ## go vet, and formatting
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	$(GO) vet ./...

test: ## all tests that need nothing installed
	$(GO) test ./...

race: ## the same with the race detector (needs a C compiler)
	$(GO) test -race ./...

cover: ## what the tests do not reach, in ./bin/cover.html
	@mkdir -p $(BIN)
	$(GO) test -coverpkg=./... -coverprofile=$(BIN)/cover.out ./...
	$(GO) tool cover -func=$(BIN)/cover.out | tail -1
	$(GO) tool cover -html=$(BIN)/cover.out -o $(BIN)/cover.html

fuzz-short: ## each fuzz test for FUZZTIME (10s)
	@set -e; for dir in $$(grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for name in $$(grep -rho --include=*_test.go '^func Fuzz[A-Za-z0-9_]*' $$dir | cut -d' ' -f2 | sort -u); do \
	    echo "$$dir $$name"; $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$dir; \
	  done; \
	done

bench: ## benchmarks, each for BENCHTIME (1s)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

sdk: ## the tests against WeChat Pay's own SDK, a module of their own
	cd test/sdk && $(GO) vet ./... && $(GO) test ./...

real: ## the suites and the integration tests on a real Kafka and Redis (Java 17, Maven)
	test/integration/suites
	test/integration/run

chaos: ## workers, real servers and every trouble there is; CHAOS='-seed 7 -jobs 20000 -for 3m'
	$(GO) run ./test/chaos $(CHAOS)

vuln: ## known vulnerabilities in what the code calls (needs the database's site)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

tidy: ## go.mod and go.sum of both modules
	$(GO) mod tidy
	cd test/sdk && $(GO) mod tidy

check: ## what CI runs
	.ci/run

clean: ## what the other targets made
	rm -rf $(BIN)

$(GOLANGCI):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@
