// SPDX-License-Identifier: Apache-2.0
// node search.mjs "photo editor" …   the documents nearest to each query
// node search.mjs --embed [--query] < texts.json   vectors of a JSON list of texts, as JSON
import { readFile } from "node:fs/promises";
import { openEmbedder } from "./runtime.mjs";

const [first, ...rest] = process.argv.slice(2);
if (first === undefined) {
  console.error('usage: node search.mjs QUERY …, such as "photo editor"');
  process.exit(2);
}
const embedder = await openEmbedder();

async function input() {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf-8")) text += chunk;
  return JSON.parse(text);
}

if (first === "--embed") {
  const query = rest.includes("--query");
  const vectors = await (rest.includes("--stored") ? embedder.embedForStorage(await input()) : embedder.embed(await input(), { query }));
  console.log(JSON.stringify(vectors.map((vector) => Array.from(vector))));
} else {
  const documents = JSON.parse(await readFile(new URL("documents.json", import.meta.url), "utf-8"));
  const stored = await embedder.embedForStorage(documents);
  for (const query of [first, ...rest]) {
    const [vector] = await embedder.embed([query], { query: true });
    const hits = stored.map((other, place) => ({ score: embedder.similarity(vector, other), text: documents[place] }));
    hits.sort((one, other) => other.score - one.score);
    console.log(query);
    for (const { score, text } of hits.slice(0, 3)) console.log(`  ${score.toFixed(3)}  ${text}`);
  }
}
