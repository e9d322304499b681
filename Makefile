# Each target is what CI runs; see .ci/run for the whole.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/longwire/longwire/internal/version.version=$(VERSION)

.PHONY: build check test race lint fmt docs fuzz fuzz-long torture browser bench dist image

build: ## the binary, in ./longwire
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o longwire ./cmd/longwire

# The packages whose tests need more than a few seconds. CI runs them all.
SLOW := (api|device|tcpserver|internal/(app|bench|cli|engine|engine/(enginetest|journaltest|memstore))|test.*)$$

check: ## before each commit, in less than a minute: format, generated files, vet and the fast packages' tests
	.ci/run format generated
	go vet ./...
	go test -short $$(go list ./... | grep -vE '^github.com/longwire/longwire/$(SLOW)')

test: ## every test
	go test ./...

race: ## every test with the race detector
	go test -race ./...

lint: ## vet and staticcheck
	go vet ./...
	go tool staticcheck ./...

fmt: ## format in place
	gofmt -w $$(git ls-files '*.go')

bench: ## the performance budgets on this machine, five minutes
	@mkdir -p dist
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o dist/ ./cmd/longwire ./cmd/longwire-bench
	dist/longwire-bench

docs: ## regenerate the OpenAPI files from the handlers' annotations
	go generate ./...

fuzz: ## 30 s for each fuzz target
	./test/fuzz.sh 30s

fuzz-long: ## an hour for each fuzz target: FUZZTIME=8h make fuzz-long
	./test/fuzz.sh $${FUZZTIME:-1h}

torture: ## hours of power cuts, kills and faults: LONGWIRE_TORTURE=1h make torture
	LONGWIRE_TORTURE=$${LONGWIRE_TORTURE:-30m} go test -timeout 0 ./internal/engine/... ./test/...

browser: ## Swagger UI in a real headless browser (needs node and chromium)
	./test/browser/run.sh

dist: ## static binaries for the common platforms, each with the list of its parts (SBOM), and checksums
	@mkdir -p dist
	@for p in linux/amd64 linux/arm64 linux/arm darwin/arm64 windows/amd64; do \
	  os=$${p%/*}; arch=$${p#*/}; ext=; [ $$os = windows ] && ext=.exe; \
	  echo "dist/longwire-$$os-$$arch$$ext"; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o dist/longwire-$$os-$$arch$$ext ./cmd/longwire && \
	  go run ./internal/sbomgen -version '$(VERSION)' -out dist/longwire-$$os-$$arch$$ext.cdx.json dist/longwire-$$os-$$arch$$ext || exit 1; \
	done
	@cd dist && sha256sum longwire-* > SHA256SUMS

# A tag may name another image tomorrow, a digest may not.
image: ## the image, with its SBOM: make image GO_IMAGE=golang:1.26@sha256:…
	@echo '$(GO_IMAGE)' | grep -Eq '^[^@[:space:]]+@sha256:[0-9a-f]{64}$$' || \
	  { echo 'make image: name the base image by its digest, as in GO_IMAGE=golang:1.26@sha256:…' >&2; exit 2; }
	docker build --build-arg GO_IMAGE='$(GO_IMAGE)' --build-arg VERSION='$(VERSION)' -t longwire:'$(VERSION)' -t longwire .
