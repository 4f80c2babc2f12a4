"""What all tests share: what the processor changes, and a cache for those that ask for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlexport import process, verify
from tests import warm
from tests.processors import INT8, int8_overflows
from tests.qwen2 import qwen2_files as qwen2_files  # noqa: PLC0414 - a fixture


@pytest.fixture(scope="session", autouse=True)
def int8_of_this_processor() -> Iterator[None]:
    """Where int8 products overflow, tiny random models are below the threshold of a verification."""
    with pytest.MonkeyPatch.context() as patch:
        if int8_overflows():
            patch.setitem(verify.THRESHOLDS, "int8", verify.Threshold(mean=INT8, min=0.8))  # type: ignore[arg-type]
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_children() -> Iterator[None]:
    """Children that run transformers need not import it each."""
    if not sys.platform.startswith("linux"):
        yield
        return
    warm.serve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "start", warm.start)
        yield


@pytest.fixture
def cold_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that begin with their imports, as a user's do."""
    monkeypatch.setattr(process, "start", warm.COLD_START)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of a module's own: the full model's vectors once for all its tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLEXPORT_CACHE", str(folder))
        yield folder
