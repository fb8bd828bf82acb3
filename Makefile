# make help lists the targets.
GO ?= go
export CGO_ENABLED ?= 0

.PHONY: help build test
help:    ## list the targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

build:   ## build the three programs into bin/
	@mkdir -p bin
	$(GO) build -trimpath -o bin/ ./agent/cmd/... ./cloud/cmd/... ./simulator/cmd/...

test:    ## everything that needs no kernel CAN and no TPM
	$(GO) test ./...
