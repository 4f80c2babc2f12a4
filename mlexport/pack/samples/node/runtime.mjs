// SPDX-License-Identifier: Apache-2.0
// The embedder of this folder's model, on ONNX Runtime for Node.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";
import { Embedder } from "./embedder.mjs";

const place = (name) => fileURLToPath(new URL(`model/${name}`, import.meta.url));
const json = async (name) => JSON.parse(await readFile(place(name), "utf-8"));

export async function openEmbedder() {
  const facts = await json("model.json");
  return Embedder.open({ ort, Tokenizer, facts, tokenizer: await json("tokenizer.json"), model: place(facts.file) });
}
