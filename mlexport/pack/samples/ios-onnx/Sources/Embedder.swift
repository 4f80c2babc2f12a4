// SPDX-License-Identifier: Apache-2.0
import Foundation
import OnnxRuntimeBindings
import OnnxRuntimeExtensions

/// Texts to vectors in ONNX Runtime. The model takes strings: the tokenizer, Unicode's NFC, the end token and the cut
/// to the longest text are inside.
public final class Embedder: TextEmbedder {
    public let facts: Facts
    private let environment: ORTEnv
    private let session: ORTSession

    public init() throws {
        let (facts, folder) = try Facts.read()
        self.facts = facts
        environment = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.registerCustomOps(functionPointer: OrtExt.getRegisterCustomOpsFunctionPointer())
        let path = folder.appendingPathComponent(facts.file).path
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: options)
    }

    public func vector(of text: String) throws -> [Float] {
        let input = try ORTValue(tensorStringData: [text], shape: [1])
        let name = "sentence_embedding"
        let found = try session.run(withInputs: ["text": input], outputNames: [name], runOptions: nil)
        guard let value = found[name] else { throw CocoaError(.featureUnsupported) }
        let data = try value.tensorData() as Data
        return data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }
}
