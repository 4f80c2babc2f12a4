"""The reference of the commands is what --help prints; the README's commands and links exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_reference_of_the_commands_is_up_to_date(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import generate_cli; print(generate_cli.page())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == page.strip(), "run `make docs`"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_links_of_the_readme_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_options_in_the_readme_exist() -> None:
    help_text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?(mlexport .*)$", README, flags=re.MULTILINE)
    options = {word for line in lines for word in shlex.split(line, comments=True) if word.startswith("--")}
    options |= set(re.findall(r"`(--[a-z-]+)", README))
    assert len(options) > 8
    assert {option for option in options if option not in help_text} == set()


def test_the_page_of_quantisation_is_what_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "results" / "quantisation.json").read_text(encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import json; from generate_quantisation import page; "
    )
    code += "print(page(json.load(sys.stdin)))"
    done = subprocess.run([sys.executable, "-c", code], input=measured, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "quantisation.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == page.strip(), "run `make docs`"


def test_the_page_of_estimates_is_what_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "results" / "estimator.json").read_text(encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import json; from generate_estimates import page; "
        "print(page(json.load(sys.stdin)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=measured, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8").strip(), (
        "run `make docs`"
    )
