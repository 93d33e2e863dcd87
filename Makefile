PYTHON ?= python3
BIN := .venv/bin
# Files are UTF-8 whatever the machine's locale.
export PYTHONUTF8 := 1

.PHONY: setup demo test test-slow fuzz lint docs pictures chat-pictures bench cluster cluster-test cluster-down lock clean
setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/casinoflux demo

test: setup
	$(BIN)/python -m tests.second_try -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" -rs

test-slow: setup
	$(BIN)/python -m tests.second_try -n 2 --dist loadfile --no-loadscope-reorder -m slow -rs

fuzz: setup
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} FUZZ_EXAMPLES=10 ALL_EXAMPLES=1 HOSTILE_WORDS=1 FUZZ_SEED=$${FUZZ_SEED:-$$$$} $(BIN)/python -m pytest tests/fuzz tests/bot/test_bad_input.py -rs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python -m bot.reference > docs/commands.md

pictures: setup chat-pictures
	$(BIN)/python -m tests.hub.cockpit.pictures

chat-pictures: setup
	$(BIN)/python -m tests.bot.pictures

bench: setup
	$(BIN)/python -m bench

cluster: setup
	$(BIN)/python -m tests.cluster up

cluster-test: setup
	$(BIN)/python -m tests.cluster test $(FAULTS)

cluster-down: setup
	$(BIN)/python -m tests.cluster down

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache
