# The commands that others rely on. Each installs what it needs and is quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test build deb lint bench page debug

PORT ?= 8080
DATA_DIR ?= demo-data
export CARGO_TERM_PROGRESS_WHEN ?= never

help:
	@echo 'make demo   the whole service with simulated cameras on http://127.0.0.1:8080 (PORT, DATA_DIR)'
	@echo 'make test   every test: Rust, page, browser; SQLite and PostgreSQL'
	@echo 'make lint   rustfmt, clippy, svelte-check, prettier, cargo-deny'
	@echo 'make build  release binaries into target/release'
	@echo 'make deb    Debian packages of recorder, server and verifier into target/debian'
	@echo 'make bench  the benchmarks, as a table'

page: web-viewer/dist/index.html

web-viewer/node_modules/.package-lock.json: web-viewer/package-lock.json
	# Not npm ci: it wants optional packages of other platforms, which the registry does not have, in the lock file.
	cd web-viewer && npm install --no-save --no-audit --no-fund
	touch $@

web-viewer/dist/index.html: web-viewer/node_modules/.package-lock.json web-viewer/index.html web-viewer/vite.config.ts \
		$(shell find web-viewer/src web-viewer/messages web-viewer/public -type f -not -path '*/paraglide/*' 2>/dev/null)
	cd web-viewer && npm run build
	touch $@

debug:
	.ci/packages build run
	$(MAKE) --no-print-directory page
	cargo build --locked --workspace --bins

demo:
	.ci/packages build demo
	$(MAKE) --no-print-directory debug
	exec target/debug/minhquay-demo --port '$(PORT)' --data-dir '$(DATA_DIR)'

test:
	.ci/packages build test
	command -v cargo-nextest >/dev/null || cargo install --locked --debug cargo-nextest
	$(MAKE) --no-print-directory debug
	cd web-viewer && npm run check && npm test
	.ci/with-postgres cargo nextest run --locked --workspace

build:
	.ci/packages build run
	$(MAKE) --no-print-directory page
	cargo build --locked --release --workspace --bins --features viewer-server/bundled-ui

deb: build
	command -v cargo-deb >/dev/null || cargo install --locked --debug cargo-deb
	# With the versions of the libraries of this Debian; build on the release that the sites run.
	cargo deb --locked --no-build -p recorder
	cargo deb --locked --no-build -p viewer-server
	cargo deb --locked --no-build -p archive

lint:
	.ci/packages build run
	$(MAKE) --no-print-directory page
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cd web-viewer && npm run check && npm run lint
	command -v cargo-deny >/dev/null || cargo install --locked --debug cargo-deny
	cargo deny check licenses bans sources

bench:
	.ci/packages build run
	# Link-time optimisation would take minutes and changes nothing here: the time goes to SQLite and the disk.
	CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_DEBUG=false cargo bench --locked -p viewer-server --bench scale
	.ci/packages demo
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=false cargo build --locked --release -p recorder -p system-tests --bins
	CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_DEBUG=false CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=false \
		cargo bench --locked -p recorder -p system-tests --bench recorder
