"""Where files that travel with the package lie: beside it in a checkout, inside it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The folder `device_profiles` or `recipes`.

    A wheel carries it inside the package (force-include of the build back end); in a checkout, which an editable
    install points to, it lies beside the package.
    """
    inside = _PACKAGE / "data" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
