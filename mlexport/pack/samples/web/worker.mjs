// SPDX-License-Identifier: Apache-2.0
// The model runs here, so that the page never waits for it.
import { openEmbedder } from "./runtime.mjs";

let embedder;
let documents = [];
let stored = [];

async function load(texts) {
  embedder = await openEmbedder();
  documents = texts;
  for (const [place, text] of texts.entries()) {
    stored.push(...(await embedder.embedForStorage([text])));
    postMessage({ type: "progress", done: place + 1, all: texts.length });
  }
  const bytes = stored.reduce((sum, vector) => sum + vector.byteLength, 0);
  postMessage({ type: "ready", facts: embedder.facts, bytes });
}

async function search(number, query) {
  const start = performance.now();
  const [vector] = await embedder.embed([query], { query: true });
  const hits = stored.map((other, place) => ({ text: documents[place], score: embedder.similarity(vector, other) }));
  hits.sort((one, other) => other.score - one.score);
  postMessage({ type: "found", number, hits: hits.slice(0, 8), milliseconds: performance.now() - start });
}

// One message after the other: a model runs one text at a time
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue
    .then(() => (data.type === "load" ? load(data.documents) : search(data.number, data.query)))
    .catch((error) => postMessage({ type: "error", message: String(error.message ?? error) }));
};
