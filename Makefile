# The two commands of the README: `make demo` and `make test`. Both make .venv/ first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check environment node system clients docs clean

demo: environment
	@rm -rf out/demo
	$(BIN)/mlexport slice --model demo --layers 8 --dim 128 --target gguf --out out/demo
	$(BIN)/mlexport search out/demo --top 3 \
		"photo editor" "gioco di scacchi" "lecteur de musique" "ゲーム" "веб-браузер"

test: environment node system
	$(BIN)/ruff check mlexport tests benchmarks docs/*.py
	$(BIN)/ruff format --check mlexport tests benchmarks docs/*.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# Tests of a file share what they made: a file stays with one worker
	$(BIN)/pytest -n 2 --dist loadfile

environment: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@# llama.cpp's converter and tokenizer vectors, from the archive that pip has just built
	$(BIN)/python benchmarks/llama_sources.py --out .venv/llama.cpp
	@touch $@

# transformers.js and ONNX Runtime for browsers, for tests; the scripts left out would only fetch CUDA libraries
TRANSFORMERS_JS := 4.3.1
ORT_WEB := 1.30.0

node: .venv/node/installed-$(TRANSFORMERS_JS)-$(ORT_WEB)

.venv/node/installed-$(TRANSFORMERS_JS)-$(ORT_WEB): | environment
	@command -v npm > /dev/null || { echo "tests/clients needs Node.js 20 with npm"; exit 1; }
	npm install --prefix .venv/node --ignore-scripts --no-audit --no-fund --loglevel=error \
		@huggingface/transformers@$(TRANSFORMERS_JS) onnxruntime-web@$(ORT_WEB) @huggingface/tokenizers@0.2.0
	@touch $@

# Tests look at pages in a browser, and measure "on a board" over ssh: on Debian and Ubuntu these come from apt
system:
	@for need in chromium:chromium /usr/sbin/sshd:openssh-server; do \
		command -v $${need%%:*} > /dev/null || packages="$$packages $${need##*:}"; \
	done; \
	if [ -n "$$packages" ]; then \
		as_root=env; [ "$$(id -u)" = 0 ] || as_root="sudo env"; \
		$$as_root apt-get update -qq && $$as_root DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends $$packages fonts-dejavu-core > /dev/null; \
	fi

# Other projects' clients in environments of their own: the table of docs/clients.md
clients: environment node
	$(BIN)/python benchmarks/clients.py

docs: environment
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_quantisation.py
	$(BIN)/python docs/generate_estimates.py
	$(BIN)/python docs/generate_devices.py
	$(BIN)/python docs/generate_estimates.py
	$(BIN)/python docs/generate_recipes.py

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .import_linter_cache
