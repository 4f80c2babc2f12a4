"""Debian's package descriptions as a multilingual training and evaluation corpus.

    python benchmarks/demo_model/corpus.py --work WORK

Fetches the `Translation-<lang>` indices of Debian bookworm through apt into
WORK/apt (the system's own lists are left alone) and writes WORK/rows.jsonl:
one row for each package and language, {package, language, title, lead, held_out}.

The title is the short description; the lead is the first paragraph, cut to
220 characters at a word boundary. Packages are split by a hash of their name:
1 in 40 is held out. A training text that also occurs, letter for letter, in a
held-out package is dropped, so nothing of the evaluation is seen in training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

LANGUAGES = ("en", "da", "it", "fr", "de", "sk", "ja", "pt_BR", "uk", "ko", "pl", "ru", "es", "cs", "pt", "zh_CN")
LEAD_CHARACTERS = 220
HELD_OUT_ONE_IN = 40
APT_CONF = """
Acquire::IndexTargets::deb::Translations::MetaKey "$(COMPONENT)/i18n/Translation-$(LANGUAGE)";
Acquire::IndexTargets::deb::Translations::ShortDescription "Translation-$(LANGUAGE)";
Acquire::IndexTargets::deb::Translations::Description "$(RELEASE)/$(COMPONENT) Translation-$(LANGUAGE)";
"""


def fetch_indices(work: Path) -> dict[str, Path]:
    """Language -> Translation index file, downloaded by apt into a folder of our own."""
    apt = (work / "apt").resolve()
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "cache").mkdir(exist_ok=True)
    (apt / "apt.conf").write_text(APT_CONF)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] http://deb.debian.org/debian bookworm main\n")
    options = {
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Acquire::Languages": ",".join(LANGUAGES),
    }
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    subprocess.run(["apt-get", "-c", str(apt / "apt.conf"), *flags, "update"], check=True)
    found = {}
    for language in LANGUAGES:
        # apt writes pt_BR as pt%5fBR in file names
        name = f"*_Translation-{language.replace('_', '%5f')}"
        # Plain, or compressed where the machine's apt keeps its lists so (.lz4)
        found[language] = next(path for suffix in ("", ".*") for path in sorted((apt / "lists").glob(name + suffix)))
    return found


def read_index(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """(package, md5 of the English description, title, lead) of each stanza of an index."""
    text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True, capture_output=True).stdout
    for stanza in text.decode().split("\n\n"):
        package = digest = title = ""
        lead: list[str] = []
        for line in stanza.split("\n"):
            if line.startswith("Package: "):
                package = line[9:]
            elif line.startswith("Description-md5: "):
                digest = line[17:]
            elif line.startswith("Description-"):
                title = line.split(": ", 1)[1] if ": " in line else ""
            elif line.strip() == ".":
                break
            elif line.startswith(" "):
                lead.append(line.strip())
        if title and lead:
            yield package, digest, title, clip(" ".join(lead))


def clip(text: str, limit: int = LEAD_CHARACTERS) -> str:
    """The first `limit` characters, ending at a space where there is one in the last half."""
    if len(text) <= limit:
        return text
    space = text.rfind(" ", limit // 2, limit)
    return text[: space if space > 0 else limit]


def held_out(package: str) -> bool:
    """True for 1 package in 40, by a hash of the name that no release changes."""
    return zlib.crc32(package.encode()) % HELD_OUT_ONE_IN == 0


def build_rows(indices: dict[str, Path]) -> list[dict[str, object]]:
    """All rows, held-out packages first in no special order; training rows free of held-out texts."""
    english = {(package, digest): (title, lead) for package, digest, title, lead in read_index(indices["en"])}
    rows = []
    for language, path in indices.items():
        for package, digest, title, lead in read_index(path):
            if (package, digest) in english:
                rows.append(
                    {
                        "package": package,
                        "language": language,
                        "title": title,
                        "lead": lead,
                        "held_out": held_out(package),
                    }
                    | dict(zip(("title_en", "lead_en"), english[package, digest], strict=True))
                )
    kept = {text for row in rows if row["held_out"] for text in (row["title"], row["lead"])}
    return [row for row in rows if row["held_out"] or not {row["title"], row["lead"], row["lead_en"]} & kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    rows = build_rows(fetch_indices(work))
    with (work / "rows.jsonl").open("w") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows, {sum(bool(row['held_out']) for row in rows)} held out")


if __name__ == "__main__":
    main()
