"""A retrieval set of two dozen texts in BEIR's layout."""

from __future__ import annotations

import json
from pathlib import Path

SUBJECTS = ("chess", "music player", "web browser", "photo editor", "mail client", "terminal", "calendar", "editor")


def make_data(folder: Path) -> Path:
    """24 documents, 16 queries in two languages, three relevant documents each."""
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"d{i}", "title": subject, "text": f"a {subject} for the desktop, number {i}"}
        for i, subject in enumerate(SUBJECTS * 3)
    ]
    queries = [
        {"_id": f"{language}{i}", "text": f"{word} {subject}", "metadata": {"language": language}}
        for i, subject in enumerate(SUBJECTS)
        for language, word in (("en", "a good"), ("de", "ein gutes"))
    ]
    judged = [f"{q['_id']}\td{int(str(q['_id'])[2:]) + 8 * k}\t1\n" for q in queries for k in range(3)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("".join(judged), encoding="utf-8")
    return folder
