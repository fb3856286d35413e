# Two commands are enough: `make run` starts xapid on the mock, `make test` runs its tests.

PYTHON ?= python3
SUITE ?= bookworm
TORTURE_KILLS ?= 200
FUZZ_INPUTS ?= 1000000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help venv run check test test-xen torture fuzz bench bench-scale bench-xen lock sdist wheel docs man deb try-image clean

help:
	@echo "make run       set up and start xapid on the mock: state in ./.xapid, https://127.0.0.1:8443"
	@echo "make test      set up and run every test that needs no Xen host"
	@echo "make check     formatting, lint and types"
	@echo "make test-xen  run the suite on two real Xen hosts in QEMU (SUITE=bookworm or trixie)"
	@echo "                 (QUICK=1: the short form; AGAIN=1: only what failed last time, on fresh hosts)"
	@echo "make torture   $(TORTURE_KILLS) kills of the daemon under writes, and under work on disks (TORTURE_KILLS=N)"
	@echo "make fuzz      $(FUZZ_INPUTS) bad messages for the parsers (FUZZ_INPUTS=N)"
	@echo "make bench     measure beside libvirtd, nginx and SQLite (BENCH='--only 1,6 --rounds 3')"
	@echo "make bench-scale  measure 5,000 VMs, 10,000 disks, 1,000 waiting clients, 100 starts at once"
	@echo "make bench-xen start a guest on real Xen by xapid, xl and virsh in turn"
	@echo "make venv      only set up .venv"
	@echo "make docs      write docs/api.md, docs/configuration.md and what xe knows of the API,"
	@echo "                 and make the manual of docs/: build/html/index.html"
	@echo "make man       make the man pages: build/man"
	@echo "make sdist     build dist/xapid-*.tar.gz, the sources"
	@echo "make wheel     build dist/*.whl from it, for this Python and this Xen"
	@echo "make deb       build dist/xapid_*.deb for this release of Debian"
	@echo "make try-image replay the Dockerfile in chroots, and try what comes out (root)"
	@echo "make lock      resolve the dependencies again"

venv: .venv/installed

NATIVE := $(wildcard native/*.h native/*.c native/*.py native/mock/*)

.venv/installed: requirements-dev.lock pyproject.toml setup.py $(NATIVE)
	@tools/prerequisites $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: venv
	@exec $(BIN)/xapid --state-dir .xapid --https 127.0.0.1:8443 --socket .xapid/xapid.sock

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: venv
	$(BIN)/pytest -n 2 tests

test-xen: venv
	SUITE=$(SUITE) $(BIN)/pytest -n $(if $(XAPID_XENHOST_RUNNING),0,2) $(if $(AGAIN),--last-failed) tests/xen

torture: venv
	$(BIN)/python -m tests.daemon.torture --kills $(TORTURE_KILLS)
	$(BIN)/python -m tests.daemon.storage_torture --kills $(TORTURE_KILLS)

fuzz: venv
	$(BIN)/python -m tests.fuzz --inputs $(FUZZ_INPUTS)

bench: venv
	@bench/prerequisites build/bench
	$(BIN)/python -m bench $(BENCH)

bench-scale: venv
	@bench/prerequisites build/bench http
	$(BIN)/python -m bench.scale $(BENCH)

bench-xen: venv
	SUITE=$(SUITE) $(BIN)/python -m bench.xen

docs: venv
	$(BIN)/python -m xapid.datamodel.document > docs/api.md
	$(BIN)/python -m xapid.config.document > docs/configuration.md
	$(BIN)/python -m xapid.xe.generate > xapid/xe/datamodel.json.new
	mv xapid/xe/datamodel.json.new xapid/xe/datamodel.json
	$(BIN)/python -m xapid.xe.document docs/xe.md
	@$(MAKE) --no-print-directory build/html/index.html

# Sphinx in an environment of its own: the tests need none of it.
SPHINX := build/sphinx/bin/python -m sphinx -q -W --keep-going
PAGES := docs/conf.py $(wildcard docs/*.md)

build/sphinx/installed: requirements-docs.lock
	$(PYTHON) -m venv build/sphinx
	build/sphinx/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

build/html/index.html: build/sphinx/installed $(PAGES) xapid/version.py
	$(SPHINX) -b html -d build/doctrees/html docs build/html
	@echo $@

man: build/sphinx/installed
	$(SPHINX) -b man -d build/doctrees/man docs build/man
	@ls build/man/*.[1-8]

sdist: venv
	@mkdir -p dist
	$(BIN)/python -c 'from setuptools import build_meta; print("dist/" + build_meta.build_sdist("dist"))' | tail -1

# From what sdist packed, so that nothing is missing there.
wheel: sdist
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist \
		"$$(ls -t dist/xapid-*.tar.gz | head -1)"
	@ls -t dist/xapid-*.whl | head -1

deb:
	tools/build-deb

try-image: venv
	$(BIN)/python tests/service/replay_dockerfile.py

lock:
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group docs -o requirements-docs.lock
	$(BIN)/python tools/build-requirements | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes - -o requirements-build.lock

clean:
	rm -rf .venv build dist *.egg-info xapid/xenworker/_libxl*.so
