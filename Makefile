# The only entry points a person needs. Each installs what it misses (Debian 12) and says so.

.PHONY: help demo run install deb test test-kernels fuzz bench generate pictures record-golden check

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## See it in a minute: an incident, and what the agent, an OTLP receiver and Prometheus say of it
	@scripts/setup demo
	@scripts/demo $(ARGS)

run: ## Build and run the agent: events here, /metrics on 127.0.0.1:2112 (ARGS='-o json' …)
	@scripts/setup run
	@scripts/run $(ARGS)

install: ## Build and install the agent: PREFIX=/usr/local, DESTDIR=
	@scripts/setup run
	cargo build --release --package trigon
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install

deb: ## Build a Debian package: target/debian/*.deb
	@scripts/setup deb
	@scripts/deb

test: ## Run every test, natively and in Debian's kernels 6.1, 6.12 and 7.3
	@scripts/setup test
	@scripts/test

test-kernels: ## Run the kernel tests in Debian's kernels only (SUITES='lifecycle …')
	@scripts/setup test
	@scripts/test-kernels $(SUITES)

fuzz: ## Give parsers, compiler and readers what nobody would write, a minute each (TARGETS='policy …', FUZZ_SECONDS=)
	@scripts/setup fuzz
	@scripts/fuzz $(TARGETS)

bench: ## Measure against the budgets
	@scripts/setup run
	@scripts/bench

generate: ## Write what is made from code: deploy/crds, docs/metrics.md, dashboards; and from the chart: deploy/manifests
	@scripts/setup generate
	@scripts/generate
	@scripts/dashboards
	@scripts/manifests

pictures: ## Draw the README's pictures from what a real agent measures: docs/pictures (root, a quarter of an hour)
	@scripts/setup pictures
	@scripts/pictures

record-golden: ## Record what the golden tests replay anew (root)
	@scripts/setup run
	cargo build -p trigon-tests --bins
	cargo run -q -p trigon-tests --bin trigon-record -- tests/golden

check: ## Look at form: formatting, lints, documentation, scripts
	@scripts/setup check
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
	shellcheck scripts/* .ci/run deploy/debian/postrm
	.cache/hadolint/bin/hadolint Dockerfile
