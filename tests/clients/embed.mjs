// Embeds texts as an application with transformers.js does.
// node embed.mjs FOLDER_OF_NODE_MODULES ARTIFACT DTYPE < ["text", …] > {"ids": …, "vectors": …, "version": …}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, artifact, dtype] = process.argv.slice(2);
const library = createRequire(`${modules}/`).resolve("@huggingface/transformers");
const { env, pipeline, Tensor } = await import(pathToFileURL(library));
env.allowRemoteModels = false;
env.localModelPath = dirname(artifact);

const embed = await pipeline("feature-extraction", basename(artifact), { dtype });
const limit = embed.tokenizer.model_max_length;

// The pipeline cuts a long text behind its end token, whose vector is the text's: cut in front of it instead
async function embedLong(ids) {
  const kept = BigInt64Array.from([...ids.slice(0, limit - 1), ids.at(-1)], BigInt);
  const row = (data) => new Tensor("int64", data, [1, kept.length]);
  const output = await embed.model({ input_ids: row(kept), attention_mask: row(kept.map(() => 1n)) });
  return output.sentence_embedding.tolist()[0];
}

const texts = JSON.parse(readFileSync(0, "utf-8"));
const ids = texts.map((text) => embed.tokenizer.encode(text));
const short = texts.filter((_, i) => ids[i].length <= limit);
const found = (await embed(short, { pooling: "last_token", normalize: true })).tolist();
const vectors = [];
for (const row of ids) vectors.push(row.length <= limit ? found.shift() : await embedLong(row));
process.stdout.write(JSON.stringify({ ids, vectors, version: env.version }));
