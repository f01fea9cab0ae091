# Every target sets up .venv itself; nothing is done again when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.fairway-ready
# What the example's pipeline installs, fetched once at set-up, so that the demo itself needs no network.
WHEELS := .venv/wheels
SHOP := examples/shop/app/requirements-dev.txt
OFFLINE := PIP_NO_INDEX=1 PIP_FIND_LINKS=$(CURDIR)/$(WHEELS) UV_NO_INDEX=1 UV_OFFLINE=1 UV_FIND_LINKS=$(CURDIR)/$(WHEELS)
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test lint format conformance bench e2e clean setup
.DEFAULT_GOAL := demo

setup: $(STAMP)

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit("Fairway needs Python 3.11 or newer, this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (once) ..."
	@if command -v uv >/dev/null 2>&1; then \
	    { [ -x $(BIN)/python ] || uv venv --quiet --python $(PYTHON) .venv; } && \
	    uv pip install --quiet --python $(BIN)/python pip -e '.[all,dev]'; \
	else \
	    { [ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv || \
	      { $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }; } && \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]'; \
	fi
	@touch $@

$(WHEELS)/.ready: $(SHOP) $(STAMP)
	@echo "Fetching what the example's pipeline installs (once) ..."
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest $(WHEELS) -r $(SHOP)
	@touch $@

demo: $(STAMP) $(WHEELS)/.ready
	@$(OFFLINE) $(BIN)/fairway demo $(DEMO_FLAGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadfile -q $(TEST_FLAGS)

lint: $(STAMP)
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix src tests bench

# What only the end-to-end tests use: other people's Kubernetes clients, and what a wheel of Fairway is built from and needs.
.venv/.e2e-ready: $(STAMP) $(WHEELS)/.ready
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[clients]'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[clients]'; fi
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest $(WHEELS) 'hatchling>=1.27' .
	@touch $@

e2e: .venv/.e2e-ready
	$(OFFLINE) $(BIN)/python -m pytest -q -m e2e tests $(TEST_FLAGS)

conformance: $(STAMP)
	$(BIN)/python -m tests.conformance $(if $(SUITE),--suite $(SUITE))

bench: $(STAMP) $(WHEELS)/.ready
	$(OFFLINE) $(BIN)/python -m bench $(BENCH_FLAGS)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
