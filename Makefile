# The two commands of the README: `make demo` and `make test`. Both make .venv/ first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check environment node clients docs clean

demo: environment
	@rm -rf out/demo
	$(BIN)/mlexport slice --model demo --layers 8 --dim 128 --target gguf --out out/demo
	$(BIN)/mlexport search out/demo --top 3 \
		"photo editor" "gioco di scacchi" "lecteur de musique" "ゲーム" "веб-браузер"

test: environment node
	$(BIN)/ruff check mlexport tests benchmarks docs/*.py
	$(BIN)/ruff format --check mlexport tests benchmarks docs/*.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

environment: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@# llama.cpp's converter and tokenizer vectors, from the archive that pip has just built
	$(BIN)/python benchmarks/llama_sources.py --out .venv/llama.cpp
	@touch $@

# transformers.js, for tests/clients; the scripts it leaves out would only fetch CUDA libraries
TRANSFORMERS_JS := 4.3.1

node: .venv/node/installed-$(TRANSFORMERS_JS)

.venv/node/installed-$(TRANSFORMERS_JS): | environment
	@command -v npm > /dev/null || { echo "tests/clients needs Node.js 20 with npm"; exit 1; }
	npm install --prefix .venv/node --ignore-scripts --no-audit --no-fund --loglevel=error \
		@huggingface/transformers@$(TRANSFORMERS_JS)
	@touch $@

# Other projects' clients in environments of their own: the table of docs/clients.md
clients: environment node
	$(BIN)/python benchmarks/clients.py

docs: environment
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_quantisation.py

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .import_linter_cache
