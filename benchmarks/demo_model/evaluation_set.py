"""Write the built-in evaluation set: held-out package descriptions in BEIR's layout.

    python benchmarks/demo_model/evaluation_set.py --work WORK --out mlexport/data/evaluation

Task: given a package's short description in some language, find the English first
paragraph of its long description. Reads WORK/rows.jsonl (corpus.py) and the
InRelease file that apt left in WORK/apt. Deterministic: the same indices give the
same bytes. Its own README.md is written too, every count in it from the data.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corpus import LEAD_CHARACTERS

MIN_QUERIES = 30
NEAR_CHARACTERS = 60
NAMES = {
    "en": "English",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pl": "Polish",
    "pt": "Portuguese",
    "pt_BR": "Portuguese (Brazil)",
    "ru": "Russian",
    "sk": "Slovak",
    "uk": "Ukrainian",
    "zh_CN": "Chinese (simplified)",
}
README = """# Evaluation set: Debian package descriptions, {languages} languages

Retrieval in [BEIR](https://github.com/beir-cellar/beir)'s layout, built into the package so that a cut can be judged
without a network. Given the **short description** of a Debian package in one of {languages} languages, find the
**English first paragraph** of that package's long description.

- `corpus.jsonl`: {documents} documents, `{{"_id": package, "title": "", "text": first paragraph}}`. \
A paragraph is cut at
  {limit} characters, at a space. Packages whose paragraphs are identical share one document, named after the first.
- `queries.jsonl`: {queries} queries, \
`{{"_id": "language/package", "text": short description, "metadata": {{"language": …}}}}`.
- `qrels/test.tsv`: exactly one relevant document for each query, score 1.

| language | queries |
|---|---|
{table}

## How it was made
`benchmarks/demo_model/corpus.py` and `evaluation_set.py`. The source is Debian's `Translation-<language>` indices of
{codename} ({version}, then {suite}; component `main`; InRelease of {date}), fetched through apt.
English texts are the package maintainers'; the others are by the volunteers of the
[Debian Description Translation Project](https://www.debian.org/international/l10n/ddtp) (DDTP). A translation counts
only where its `Description-md5` is that of the English text it is paired with.

- Held out: 1 package in 40, by CRC-32 of its name. The demo checkpoint (and its tokenizer) saw \
no text of these packages,
  and no training text equals one of theirs, letter for letter.
- Left out: {untranslated} titles that equal the English one (not translated, or a name), {ambiguous} whose
  packages have different paragraphs, {repeated} repeats of a title within its language, and languages with fewer than
  {minimum} queries{small}.
- Not removed: near-duplicates. Packages built from one source often share their wording; {near} of the {documents}
  documents begin with the same {near_characters} characters as a paragraph in the training part. Scores on this set are
  therefore those of *this kind of text*, and higher than on unseen domains.

## Licence
We found no separate licence statement by Debian for package descriptions or for their translations, and claim none.
A description is part of its source package (`debian/control`) and comes under that package's own terms, to be found in
`/usr/share/doc/PACKAGE/copyright` or at <https://metadata.ftp-master.debian.org/changelogs/main/>. \
All packages here are
from `main`, whose every package meets the Debian Free Software Guidelines: use, change and redistribution are allowed,
under terms that differ from package to package. DDTP leaves the non-free sections untranslated, because licences there
might forbid it (its own page, linked above); its translations are distributed in Debian's archive beside the packages.

The excerpts here, one sentence or two each, serve to measure retrieval; every document names its package as the source.
**They are not under mlexport's Apache-2.0 licence.** Who reuses them for something else should look at the terms of the
packages concerned.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A short description and the package it was taken from."""

    language: str
    package: str
    title: str
    lead: str


def distinct_leads(rows: Iterable[dict[str, str]]) -> dict[str, str]:
    """English first paragraph → the first package (by name) that has it, in the order of these names."""
    pairs = sorted({(row["package"], row["lead_en"]) for row in rows})
    named: dict[str, str] = {}
    for package, lead in pairs:
        named.setdefault(lead, package)
    return named


def choose_queries(rows: list[dict[str, str]]) -> tuple[list[Query], dict[str, int]]:
    """Queries of one relevant document each, sorted; how many rows were left out and why."""
    leads: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        leads[row["language"], row["title"]].add(row["lead_en"])
    left = Counter[str]()
    chosen: dict[tuple[str, str], Query] = {}
    for row in sorted(rows, key=lambda row: (row["language"], row["package"], row["title"])):
        key = row["language"], row["title"]
        if row["language"] != "en" and row["title"] == row["title_en"]:
            left["untranslated"] += 1
        elif len(leads[key]) > 1:
            left["ambiguous"] += 1
        elif key in chosen:
            left["repeated"] += 1
        else:
            chosen[key] = Query(language=key[0], package=row["package"], title=key[1], lead=row["lead_en"])
    counts = Counter(query.language for query in chosen.values())
    kept = [query for query in chosen.values() if counts[query.language] >= MIN_QUERIES]
    return kept, dict(left)


def unique_ids(queries: list[Query]) -> list[str]:
    """language/package; a package with two versions of its description gets /2 behind."""
    seen = Counter[str]()
    names = []
    for query in queries:
        name = f"{query.language}/{query.package}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}/{seen[name]}")
    return names


def near_duplicates(documents: Iterable[str], training: Iterable[str]) -> int:
    """Documents whose first characters open a training paragraph too."""
    openings = {lead[:NEAR_CHARACTERS] for lead in training}
    return sum(lead[:NEAR_CHARACTERS] in openings for lead in documents)


def release_facts(work: Path) -> dict[str, str]:
    """Suite, Version, Codename and Date of the InRelease file apt fetched."""
    text = next((work / "apt" / "lists").glob("*_InRelease")).read_text(encoding="utf-8")
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
    return {key.lower(): fields[key] for key in ("Suite", "Version", "Codename", "Date")}


def write_lines(path: Path, records: Iterable[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def language_table(counts: Counter[str]) -> str:
    """English first, then by size."""
    order = sorted(counts, key=lambda language: (language != "en", -counts[language]))
    return "\n".join(f"| {NAMES[language]} (`{language}`) | {counts[language]} |" for language in order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = [json.loads(line) for line in (args.work / "rows.jsonl").open(encoding="utf-8")]
    held = [row for row in rows if row["held_out"]]
    documents = distinct_leads(held)
    queries, left = choose_queries(held)
    names = unique_ids(queries)
    counts = Counter(query.language for query in queries)
    small = sorted({row["language"] for row in held} - set(counts))

    write_lines(
        args.out / "corpus.jsonl", ({"_id": name, "title": "", "text": text} for text, name in documents.items())
    )
    write_lines(
        args.out / "queries.jsonl",
        (
            {"_id": name, "text": query.title, "metadata": {"language": query.language}}
            for name, query in zip(names, queries, strict=True)
        ),
    )
    (args.out / "qrels").mkdir(exist_ok=True)
    pairs = (f"{name}\t{documents[query.lead]}\t1\n" for name, query in zip(names, queries, strict=True))
    (args.out / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(pairs), encoding="utf-8")
    readme = README.format(
        languages=len(counts),
        documents=len(documents),
        queries=len(queries),
        table=language_table(counts),
        limit=LEAD_CHARACTERS,
        minimum=MIN_QUERIES,
        small=f" ({', '.join(small)})" if small else " (none)",
        near=near_duplicates(documents, (row["lead_en"] for row in rows if not row["held_out"])),
        near_characters=NEAR_CHARACTERS,
        untranslated=left.get("untranslated", 0),
        ambiguous=left.get("ambiguous", 0),
        repeated=left.get("repeated", 0),
        **release_facts(args.work),
    )
    (args.out / "README.md").write_text(readme, encoding="utf-8")
    print(f"{len(documents)} documents, {len(queries)} queries in {len(counts)} languages; left out {left}")


if __name__ == "__main__":
    main()
