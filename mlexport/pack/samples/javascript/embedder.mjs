// SPDX-License-Identifier: Apache-2.0
// Texts to vectors with the model of this folder, in browsers and in Node.

export class Embedder {
  /**
   * @param ort onnxruntime-web or onnxruntime-node
   * @param Tokenizer of @huggingface/tokenizers
   * @param facts the content of model/model.json
   * @param tokenizer the content of model/tokenizer.json
   * @param model bytes, path or URL of the model file
   */
  static async open({ ort, Tokenizer, facts, tokenizer, model, options = {} }) {
    const session = await ort.InferenceSession.create(model, options);
    return new Embedder(ort, new Tokenizer(tokenizer, {}), facts, session);
  }

  constructor(ort, tokenizer, facts, session) {
    Object.assign(this, { ort, tokenizer, facts, session });
    const shape = session.inputMetadata?.[0]?.shape ?? [];
    // A model for accelerators has one fixed shape; otherwise the axes have names
    this.shape = shape.length && shape.every((size) => typeof size === "number") ? shape : null;
  }

  /** Token ids, cut to the longest text; the end token stays last, because its vector is the text's. */
  ids(text) {
    const { max_length: longest, end_id: end } = this.facts.tokens;
    const ids = this.tokenizer.encode(text, { add_special_tokens: false }).ids;
    return [...ids.slice(0, longest - 1), end];
  }

  /** Vectors, a normalised Float32Array [dim] for each text. Queries get another prompt than documents. */
  async embed(texts, { query = false } = {}) {
    return this.#all(texts, query ? "query" : "document", "sentence_embedding");
  }

  /** Documents as they are stored: Float32Array or Int8Array [dim], or Uint8Array [dim / 8] with a sign a bit. */
  async embedForStorage(texts) {
    return this.#all(texts, "document", this.facts.vectors.output ?? "sentence_embedding");
  }

  /** Cosine of a query's vector and a stored one; with signs alone it orders documents, but is no cosine. */
  similarity(query, stored) {
    const { precision, range } = this.facts.vectors;
    const number =
      precision === "binary" ? (i) => ((stored[i >> 3] >> (7 - (i & 7))) & 1) * 2 - 1 : (i) => stored[i];
    let sum = 0;
    for (let i = 0; i < query.length; i++) sum += query[i] * number(i);
    const scale = { f32: 1, int8: range / 127, binary: 1 / Math.sqrt(query.length) };
    return sum * scale[precision];
  }

  async #all(texts, name, output) {
    const prompt = this.facts.prompts[name] ?? "";
    const found = [];
    for (const text of texts) found.push(await this.#run(this.ids(prompt + text), output));
    return found;
  }

  async #run(ids, output) {
    const [rows, width] = this.shape ?? [1, ids.length];
    const input = new BigInt64Array(rows * width).fill(BigInt(this.facts.tokens.pad_id));
    const mask = new BigInt64Array(rows * width);
    for (let row = 0; row < rows; row++) {
      input.set(ids.map(BigInt), row * width);
      mask.fill(1n, row * width, row * width + ids.length);
    }
    const tensor = (data) => new this.ort.Tensor("int64", data, [rows, width]);
    const found = await this.session.run({ input_ids: tensor(input), attention_mask: tensor(mask) }, [output]);
    const { data } = found[output];
    return data.slice(0, data.length / rows);
  }
}
