// SPDX-License-Identifier: Apache-2.0
import Foundation
import llama

/// Texts to vectors in llama.cpp. Not for several threads at once.
public final class Embedder: TextEmbedder {
    public struct Failure: Error {
        public let reason: String
    }

    public let facts: Facts
    private let model: OpaquePointer
    private var context: OpaquePointer?
    private var room = 0

    public init() throws {
        let (facts, folder) = try Facts.read()
        self.facts = facts
        llama_backend_init()
        let path = folder.appendingPathComponent(facts.file).path
        guard let model = llama_model_load_from_file(path, llama_model_default_params()) else {
            throw Failure(reason: "llama.cpp cannot load \(path)")
        }
        self.model = model
    }

    deinit {
        if let context { llama_free(context) }
        llama_model_free(model)
    }

    public func vector(of text: String) throws -> [Float] {
        var ids = tokens(of: text)
        let context = try context(for: ids.count)
        llama_memory_clear(llama_get_memory(context), true)
        let code = ids.withUnsafeMutableBufferPointer { buffer in
            llama_decode(context, llama_batch_get_one(buffer.baseAddress, Int32(buffer.count)))
        }
        guard code == 0, let pooled = llama_get_embeddings_seq(context, 0) else {
            throw Failure(reason: "llama.cpp cannot run a text of \(ids.count) tokens")
        }
        let vector = Array(UnsafeBufferPointer(start: pooled, count: facts.dim))
        let length = max(vector.reduce(Float(0)) { $0 + $1 * $1 }.squareRoot(), .leastNormalMagnitude)
        return vector.map { $0 / length }
    }

    /// Cut to the longest text; the end token stays last, because its vector is the text's. llama.cpp does not compose
    /// characters (Unicode NFC), which the model was trained with.
    private func tokens(of text: String) -> [llama_token] {
        let bytes = Array(text.precomposedStringWithCanonicalMapping.utf8CString.dropLast())
        var ids = [llama_token](repeating: 0, count: bytes.count + 8)
        let vocabulary = llama_model_get_vocab(model)
        let count = llama_tokenize(vocabulary, bytes, Int32(bytes.count), &ids, Int32(ids.count), false, true)
        let kept = min(Int(max(0, count)), facts.tokens.maxLength - 1)
        return Array(ids[..<kept]) + [facts.tokens.endId]
    }

    /// A context as long as the text needs: one for the longest text can take gigabytes.
    private func context(for tokens: Int) throws -> OpaquePointer {
        if let context, tokens <= room { return context }
        if let context { llama_free(context) }
        context = nil
        room = 512
        while room < tokens { room *= 2 }
        var options = llama_context_default_params()
        options.n_ctx = UInt32(room)
        options.n_batch = UInt32(room)
        options.n_ubatch = 128
        // llama.cpp's threads spin while they wait: more than there are fast cores slow each other down
        options.n_threads = Int32(max(1, min(4, ProcessInfo.processInfo.activeProcessorCount / 2)))
        options.n_threads_batch = options.n_threads
        options.embeddings = true
        // Pooling over several micro-batches is right for causal attention alone
        options.attention_type = LLAMA_ATTENTION_TYPE_CAUSAL
        guard let made = llama_init_from_model(model, options) else {
            throw Failure(reason: "llama.cpp has no memory for a text of \(tokens) tokens")
        }
        context = made
        return made
    }
}
