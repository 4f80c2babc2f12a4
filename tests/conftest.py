"""What the processor changes of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlexport import verify
from tests.processors import INT8, int8_overflows


@pytest.fixture(scope="session", autouse=True)
def int8_of_this_processor() -> Iterator[None]:
    """Where int8 products overflow, tiny random models are below the threshold of a verification."""
    with pytest.MonkeyPatch.context() as patch:
        if int8_overflows():
            patch.setitem(verify.THRESHOLDS, "int8", verify.Threshold(mean=INT8, min=0.8))  # type: ignore[arg-type]
        yield
