# make help lists the targets.
GO       ?= go
FUZZTIME ?= 20s
FUZZSHORT ?= 5s
ROUNDS   ?= 20
POWERCUTS ?= 5
BENCH    ?= .
COUNT    ?= 1
export CGO_ENABLED ?= 0
# Where the real disk is: tests of durability and write volume must not run on tmpfs.
CACHE    := $(CURDIR)/.cache
# What every program says of itself: see .ci/version.
VERSION  ?= $(shell sh .ci/version)
STAMP     = -X telltale.dev/protocol.stamped=$(VERSION)
WANT     := $(shell sed -n 's/^go //p' go.mod)

.PHONY: dist help build test race fuzz bench lint generate check demo system size tools test-vm demo-vm bench-vm vuln clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 12

# One clear line for the two things that go wrong on a fresh machine.
tools:
	@command -v $(GO) >/dev/null 2>&1 || { echo "make: Go $(WANT) or newer is needed; found no '$(GO)' on PATH" >&2; exit 1; }
	@have=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//'); \
	 if [ "$$(printf '%s\n%s\n' "$(WANT)" "$$have" | sort -V | head -n 1)" != "$(WANT)" ]; then \
	   echo "make: Go $(WANT) or newer is needed; found Go $${have:-unknown}" >&2; exit 1; fi
	@$(GO) list -deps ./... >/dev/null 2>&1 || { \
	   echo "make: Go modules cannot be downloaded; expected a reachable module proxy (go env GOPROXY) or a filled module cache" >&2; exit 1; }

build: tools ## build the three programs into bin/
	@mkdir -p bin
	$(GO) build -trimpath -ldflags="$(STAMP)" -o bin/ ./agent/cmd/... ./cloud/cmd/... ./simulator/cmd/...

demo: build ## drive the recorded car through a tunnel, a power cut and a dead cloud
	@bin/telltale run simulator/scenarios/commute.yaml

test: tools ## everything that needs no kernel CAN and no TPM; says which tests were skipped, and why
	@GO='$(GO)' .ci/test ./...

# What runs on a real kernel: drivers of the vehicle's side, and on 32-bit ARM all
# that counts in 64-bit atomics.
ARCH     ?= arm64
VMTESTS  := ./hal/... ./agent/frames ./agent/check ./firmware-images/boot/buses
ifeq ($(ARCH),arm)
VMTESTS  += ./protocol/... ./agent/buffer ./agent/campaign ./agent/signals ./agent/collect ./agent/batch
endif

# Two guests at a time, each for one package and on one core.
test-vm: SHELL := /bin/bash
test-vm: tools ## tests on Debian's kernel in QEMU, ARCH=arm64, arm or amd64: vcan, TPM
	@mkdir -p $(CACHE)/bin
	@$(GO) build -o $(CACHE)/bin/ ./firmware-images/cmd/telltale-vm
ifeq ($(ARCH),arm64)
	TELLTALE_VM=1 $(GO) test -count 1 -parallel 2 ./firmware-images/qemu ./firmware-images/runner
endif
	@set -o pipefail; GOOS=linux GOARCH=$(ARCH) GOARM=7 CGO_ENABLED=0 $(GO) test -p 2 -count 1 -v \
	   -exec '$(CACHE)/bin/telltale-vm -arch $(ARCH) -with simulator/recordings' $(VMTESTS) | grep -v -e '^=== ' -e '\[no test files\]$$'

# What runs with all programs in the guest: the demonstration on vcan, and figures of the agent there.
VMPROGRAMS := .cache/vm-programs/$(ARCH)
VMEXEC = $(CACHE)/bin/telltale-vm -arch $(ARCH) -no-tpm -shell -memory 2048 -with README.md -with $(VMPROGRAMS) -with simulator/scenarios -with simulator/recordings

.PHONY: $(VMPROGRAMS)
$(VMPROGRAMS): tools
	@mkdir -p $(CACHE)/bin $@
	@$(GO) build -o $(CACHE)/bin/ ./firmware-images/cmd/telltale-vm
	@GOOS=linux GOARCH=$(ARCH) GOARM=7 CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w $(STAMP)' -o $@/ ./agent/cmd/... ./cloud/cmd/... ./simulator/cmd/...

demo-vm: $(VMPROGRAMS) ## the demonstration with its buses on vcan, agent and cloud in the guest (ARCH)
	GOOS=linux GOARCH=$(ARCH) GOARM=7 CGO_ENABLED=0 TELLTALE_PROGRAMS=$(VMPROGRAMS) $(GO) test -count 1 -v -timeout 10m -run 'OnVcan' -exec '$(VMEXEC)' ./simulator/e2e

# Emulating a Cortex-A76 is cheaper than an A53: it has atomic instructions that the host has, too.
bench-vm: VMEXEC += $(if $(filter arm64,$(ARCH)),-cpu cortex-a76)
bench-vm: $(VMPROGRAMS) ## readers of a busy vcan compared, and the agent on two of them (ARCH)
	GOOS=linux GOARCH=$(ARCH) GOARM=7 CGO_ENABLED=0 $(GO) test -count 1 -run '^$$' -bench Readers -benchtime 1x -exec '$(VMEXEC)' ./hal/canbus/socketcan
	GOOS=linux GOARCH=$(ARCH) GOARM=7 CGO_ENABLED=0 TELLTALE_PROGRAMS=$(VMPROGRAMS) $(GO) test -count 1 -timeout 10m -run '^$$' -bench AgentOnVcan -benchtime 1x -exec '$(VMEXEC)' ./simulator/e2e

race: tools ## the concurrent rooms under the race detector (needs cgo)
	CGO_ENABLED=1 $(GO) test -race -short ./agent/... ./cloud/... ./hal/... ./simulator/...

# Two targets at a time, each on one core.
fuzz: tools ## the parsers' fuzz targets for FUZZTIME each, all others for FUZZSHORT
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  case $$dir in ./protocol*|./simulator/drive) time=$(FUZZTIME);; *) time=$(FUZZSHORT);; esac; \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$dir/*_test.go); do echo "$$dir $$target $$time"; done; \
	done | GO='$(GO)' xargs -P 2 -L 1 .ci/fuzz

system: build ## fault rounds and power cuts: ROUNDS and POWERCUTS of them
	TELLTALE_ROUNDS=$(ROUNDS) TELLTALE_POWERCUTS=$(POWERCUTS) $(GO) test -count=1 -timeout 60m -v -run 'TestRounds|TestPowerCuts|TestTheCheckNotices' ./simulator/e2e

bench: build ## all benchmarks, BENCH chooses, COUNT repeats; benchstat sums up
	@mkdir -p $(CACHE)
	TMPDIR=$(CACHE) $(GO) test -run '^$$' -bench '$(BENCH)' -count $(COUNT) ./... | tee $(CACHE)/bench.txt
	@$(GO) tool benchstat $(CACHE)/bench.txt

lint: tools ## format, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt: expected formatted files:" $$out >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

generate: tools ## write the generated files again
	$(GO) generate ./...
	@for program in agent/cmd/telltale-agent cloud/cmd/telltale-cloud simulator/cmd/telltale firmware-images/cmd/telltale-init; do \
	  GOOS=linux GOARCH=arm64 $(GO) list -deps -f "$$(basename $$program) {{with .Module}}{{.Path}} {{.Version}}{{end}}" ./$$program | grep -v -e ' $$' -e ' telltale.dev $$' | sort -u; \
	done > .ci/deps.txt

check: lint generate ## format, vet, staticcheck, generated files unchanged, tests
	@git diff --exit-code --stat -- cloud/api/openapi.yaml .ci/deps.txt || { echo "make: generated files differ; commit what make generate writes" >&2; exit 1; }
	GO='$(GO)' .ci/test ./...
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./agent/cmd/telltale-agent
	GOOS=linux GOARCH=arm GOARM=7 $(GO) build -o /dev/null ./agent/cmd/telltale-agent
	GOOS=linux GOARCH=arm GOARM=7 $(GO) vet ./agent/... ./hal/... ./protocol/... ./firmware-images/...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...

dist: tools ## static programs and Debian packages for arm64, armv7 and amd64 into bin/dist/, with SHA256SUMS
	@rm -rf bin/dist
	$(GO) run ./agent/dist/cmd/telltale-dist --out bin/dist $(if $(VERSION),--version $(VERSION))

vuln: tools ## known vulnerabilities in what the programs call (govulncheck)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

clean: ## remove what make and the programs wrote here: bin, .cache and .telltale
	rm -rf bin .cache .telltale

size: tools ## size of the stripped agent for linux/arm64
	@mkdir -p $(CACHE)
	@GOOS=linux GOARCH=arm64 $(GO) build -trimpath -ldflags='-s -w' -o $(CACHE)/telltale-agent-arm64 ./agent/cmd/telltale-agent
	@wc -c $(CACHE)/telltale-agent-arm64

# Firmware images: BOARD is a folder below firmware-images.
BOARD    ?= qemu-arm64

.PHONY: image image-run test-image
image: tools ## build a disk image, an update file and a bill of materials for BOARD, without root
	@mkdir -p $(CACHE)/bin
	@$(GO) build -o $(CACHE)/bin/ ./firmware-images/cmd/telltale-image
	@$(CACHE)/bin/telltale-image build --quiet $(if $(VERSION),--version $(VERSION)) $(BOARD)

image-run: build image ## boot the image in QEMU as a vehicle of a cloud on this machine, until Ctrl-C
	@$(CACHE)/bin/telltale-image run --image $(CACHE)/images/$(BOARD)

# CUTS is the number of power cuts; SHORT=-short leaves out what takes longest. BOARDS run at a time: a board that
# waits leaves its core to the others.
BOARDS   ?= 3
CUTS     ?= 20
SHORT    ?=
test-image: tools ## boot the image in QEMU: boot states, the table of updates, CUTS power cuts
	TELLTALE_IMAGE_TEST=1 TELLTALE_CUTS=$(CUTS) $(GO) test -count=1 -timeout 240m -parallel $(BOARDS) -v $(SHORT) ./firmware-images/rig
