# SPDX-License-Identifier: Apache-2.0
"""Search documents.json, or print vectors.

python search.py "photo editor" …                       the documents nearest to each query
python search.py --embed [--query | --stored] < texts.json    vectors of a JSON list of texts, as JSON
"""

import json
import sys
from pathlib import Path

from embedder import Embedder


def show(model, queries, top=3):
    documents = json.loads(Path(__file__).with_name("documents.json").read_text(encoding="utf-8"))
    stored = model.embed_for_storage(documents)
    for query, vector in zip(queries, model.embed(queries, query=True), strict=True):
        scores = model.similarity(vector, stored)
        print(query)
        for place in (-scores).argsort(kind="stable")[:top]:
            print(f"  {scores[place]:.3f}  {documents[place]}")


def main(arguments):
    if not arguments:
        sys.exit(__doc__.strip())
    model = Embedder()
    if arguments[0] != "--embed":
        show(model, arguments)
        return
    texts = json.load(sys.stdin)
    vectors = (
        model.embed_for_storage(texts) if "--stored" in arguments else model.embed(texts, query="--query" in arguments)
    )
    json.dump(vectors.tolist(), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
