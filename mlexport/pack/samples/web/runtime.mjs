// SPDX-License-Identifier: Apache-2.0
// Where the libraries come from: what `npm install` put into this folder, nothing from another server.
// With a bundler write their names instead: "onnxruntime-web/wasm" and "@huggingface/tokenizers".
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Tokenizer } from "./node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import { Embedder } from "./embedder.mjs";

// Threads share memory, which browsers allow to pages with the two headers that serve.mjs sends
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;

async function fetched(path) {
  const response = await fetch(new URL(path, import.meta.url));
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return response;
}

/** The embedder of this folder's model. */
export async function openEmbedder() {
  const [facts, tokenizer] = await Promise.all(
    ["model/model.json", "model/tokenizer.json"].map(async (path) => (await fetched(path)).json()),
  );
  const model = new Uint8Array(await (await fetched(`model/${facts.file}`)).arrayBuffer());
  return Embedder.open({ ort, Tokenizer, facts, tokenizer, model });
}
