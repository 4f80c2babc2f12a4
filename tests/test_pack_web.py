"""The web sample in headless Chromium, served on loopback: vectors, precisions, and the search page."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from transformers import AutoTokenizer

from mlexport.opened import open_artifact
from mlexport.pack import write_pack
from tests.packs import COSINE, LONGEST, TEXTS, chromium, node_modules, served
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import sliced

SERVER = ("node", "serve.mjs", "0")
# A server without the headers that give a page threads; it prints its address as ours does
PLAIN_SERVER = (
    sys.executable,
    "-uc",
    "import http.server as h\n"
    "s = h.ThreadingHTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n"
    "h.SimpleHTTPRequestHandler.extensions_map['.mjs'] = 'text/javascript'\n"
    "h.SimpleHTTPRequestHandler.log_message = lambda *_: None\n"
    "print(f'http://127.0.0.1:{s.server_address[1]}/')\n"
    "s.serve_forever()",
)
EMBED = """async ([address, texts, query]) => {
  const { openEmbedder } = await import(address + "runtime.mjs");
  const embedder = await openEmbedder();
  const plain = (vectors) => vectors.map((vector) => Array.from(vector));
  const vectors = await embedder.embed(texts, { query });
  const stored = await embedder.embedForStorage(texts);
  return {
    ids: texts.map((text) => embedder.ids(text)),
    vectors: plain(vectors),
    stored: plain(stored),
    self: vectors.map((vector, place) => embedder.similarity(vector, stored[place])),
    isolated: crossOriginIsolated,
  };
}"""

CHESS = ("A chess game for one or two players", "Un jeu d'échecs contre l'ordinateur")
FIRST_TWO = """wanted => {
  const shown = [...document.querySelectorAll("#results li .text")].map((text) => text.innerText);
  return wanted.includes(shown[0]) && wanted.includes(shown[1]);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as player:
        started = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose errors fail the test."""
    errors: list[str] = []
    opened = browser.new_page()
    # Asked for beside a file that is no page
    opened.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=LONGEST)


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "a"
    precisions = ["f32", "f16", "int8", "int8_b32", "int4"]
    options = {"layers": 2, "dim": 32, "targets": ["onnx"], "precisions": precisions, "vectors": "binary"}
    sliced(model, out, verify="off", **options)
    return out


def embed(page: Page, address: str, texts: list[str], *, query: bool = False) -> Any:
    # Not the search page, which would load the model for itself
    page.goto(address + "style.css")
    return page.evaluate(EMBED, [address, texts, query])


def test_vectors_in_the_browser_are_pythons(page: Page, model: Path, artifact: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    write_pack(artifact, "web", out=pack, runtime=node_modules())
    with served(*SERVER, folder=pack) as address:
        found = embed(page, address, TEXTS)
        asked = embed(page, address, TEXTS[:5], query=True)
    assert found["isolated"], "without isolation there are no threads"
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert found["ids"] == tokenizer(TEXTS, truncation=True, max_length=LONGEST)["input_ids"]
    with open_artifact(artifact) as reference:
        python, queries = reference.embed(TEXTS), reference.embed(TEXTS[:5], query=True)
        stored = reference.store(python)
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=LONGEST)
    for other in (python, expected):
        assert (np.array(found["vectors"]) * other).sum(axis=1).min() >= COSINE
    assert (np.array(asked["vectors"]) * queries).sum(axis=1).min() >= COSINE
    bits = np.unpackbits(np.array(found["stored"], dtype=np.uint8) ^ stored, axis=1)
    assert bits[np.abs(python) > 1e-3].sum() == 0
    # |x| · sign(x) over the square root of the dim
    assert np.allclose(found["self"], np.abs(python).sum(axis=1) / 32**0.5, atol=1e-3)


@pytest.mark.parametrize(
    ("precision", "lowest"), [("f16", 0.9999), ("int8", 0.97), ("int8_b32", 0.97), ("int4_b32", 0.9)]
)
def test_every_precision_runs(page: Page, artifact: Path, tmp_path: Path, precision: str, lowest: float) -> None:
    """Nearness to f32: integers are not computed alike everywhere (docs/packs.md)."""
    pack = tmp_path / "pack"
    write_pack(artifact, "web", out=pack, variant=precision, runtime=node_modules())
    with served(*SERVER, folder=pack) as address:
        found = embed(page, address, TEXTS[:12])
    with open_artifact(artifact, "f32") as reference:
        cosines = (np.array(found["vectors"]) * reference.embed(TEXTS[:12])).sum(axis=1)
    assert (cosines.min() if precision == "f16" else cosines.mean()) >= lowest


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    options = {"layers": 8, "dim": 128, "targets": ["onnx"], "precisions": ["int8"]}
    sliced(Path("demo"), out / "a", verify="off", **options)
    write_pack(out / "a", "web", runtime=node_modules())
    return out / "a-web"


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 800, "light"), (390, 844, "dark")])
def test_the_search_page_answers(  # noqa: PLR0917
    browser: Browser, demo: Path, tmp_path: Path, width: int, height: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    seen: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    with served(*SERVER, folder=demo) as address:
        page.goto(address)
        page.locator("#query:enabled").wait_for()
        page.keyboard.type("gioco di scacchi")
        page.locator("#status", has_text="nearest").wait_for()
        # Results of the first words of the query are shown meanwhile
        page.wait_for_function(FIRST_TWO, arg=list(CHESS))
        texts = page.locator("#results li .text").all_inner_texts()
        scores = [float(text) for text in page.locator("#results li .score").all_inner_texts()]
        picture = page.screenshot(path=tmp_path / f"{scheme}.png")
        # Nothing is cut off at the side of a phone
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="photo editor").click()
        page.locator("#results li .text", has_text="layers").wait_for()
    context.close()
    assert set(texts[:2]) == set(CHESS)
    assert len(texts) == 8
    assert scores == sorted(scores, reverse=True)
    assert picture.startswith(b"\x89PNG")
    assert (sum(int(part) for part in ground[4:-1].split(",")) > 3 * 128) == (scheme == "light")
    assert {urlsplit(url).hostname for url in seen if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert errors == []


def test_any_server_of_files_will_do(page: Page, artifact: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    write_pack(artifact, "web", out=pack, runtime=node_modules())
    with served(*PLAIN_SERVER, folder=pack) as address:
        found = embed(page, address, TEXTS[:3])
    assert not found["isolated"]
    with open_artifact(artifact) as reference:
        assert (np.array(found["vectors"]) * reference.embed(TEXTS[:3])).sum(axis=1).min() >= COSINE


def test_the_page_says_that_the_libraries_are_missing(browser: Browser, artifact: Path, tmp_path: Path) -> None:
    write_pack(artifact, "web", out=tmp_path / "pack")
    page = browser.new_page()
    with served(*SERVER, folder=tmp_path / "pack") as address:
        page.goto(address)
        page.locator("#status.error").wait_for()
        assert "run `npm install`" in page.locator("#status").inner_text()
    page.close()


def test_the_server_serves_its_own_folder_alone(artifact: Path, tmp_path: Path) -> None:
    write_pack(artifact, "web", out=tmp_path / "pack")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    with served(*SERVER, folder=tmp_path / "pack") as address:
        place = urlsplit(address)
        assert place.hostname == "127.0.0.1"
        for path, status in (("/../secret.txt", 404), ("/..%2fsecret.txt", 404), ("/%zz", 404), ("/index.html", 200)):
            connection = http.client.HTTPConnection("127.0.0.1", place.port or 0)
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == status
            assert b"secret" not in response.read()
            connection.close()
