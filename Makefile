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
PROGRAMS := tap replayer inspect
IMAGES   := $(PROGRAMS) demo
LDFLAGS  := -s -w -X github.com/reprise-io/reprise/cmd/internal/cli.Version=$(VERSION)
# Where the corpora of other projects are; tests that read them skip without it.
CASES    := ../shared/cases

# For how long make fuzz tries each target.
FUZZTIME ?= 60s

.PHONY: build demo unit e2e test fuzz lint generate bench clean help images rootfs deploy-check
