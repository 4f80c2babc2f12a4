// SPDX-License-Identifier: Apache-2.0
import Foundation

/// What model/model.json says; see docs/packs.md of mlexport.
public struct Facts: Decodable {
    public struct Tokens: Decodable {
        let maxLength: Int
        let endId: Int32
    }

    public struct Storage: Decodable {
        let precision: String
        let range: Float?
    }

    public let name: String
    public let file: String
    public let dim: Int
    public let prompts: [String: String]
    public let tokens: Tokens
    public let vectors: Storage

    static func read() throws -> (facts: Facts, folder: URL) {
        let folder = Bundle.module.bundleURL.appendingPathComponent("model")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return (try decoder.decode(Facts.self, from: Data(contentsOf: folder.appendingPathComponent("model.json"))), folder)
    }

    func prompted(_ text: String, query: Bool) -> String {
        (prompts[query ? "query" : "document"] ?? "") + text
    }

    /// Bytes of a stored vector: floats, codes from -127 to 127, or a sign a bit.
    public func stored(_ vector: [Float]) -> Data {
        switch vectors.precision {
        case "int8":
            let step = 127 / (vectors.range ?? 1)
            return Data(
                vector.map { number -> UInt8 in
                    let code = (number * step).rounded(.toNearestOrEven)
                    return UInt8(bitPattern: Int8(max(-127, min(127, code))))
                })
        case "binary":
            var bits = Data(count: (vector.count + 7) / 8)
            for (place, number) in vector.enumerated() where number > 0 { bits[place / 8] |= 128 >> UInt8(place % 8) }
            return bits
        default:
            return vector.withUnsafeBytes { Data($0) }
        }
    }

    /// Cosine of a query's vector and a stored one; with signs alone it orders documents, but is no cosine.
    public func similarity(_ query: [Float], _ stored: Data) -> Float {
        switch vectors.precision {
        case "int8":
            let sum = zip(query, stored).reduce(Float(0)) { $0 + $1.0 * Float(Int8(bitPattern: $1.1)) }
            return sum * (vectors.range ?? 1) / 127
        case "binary":
            let bytes = [UInt8](stored)
            var sum: Float = 0
            for (place, number) in query.enumerated() {
                sum += (bytes[place / 8] >> UInt8(7 - place % 8)) & 1 == 1 ? number : -number
            }
            return sum / Float(query.count).squareRoot()
        default:
            return stored.withUnsafeBytes { bytes in
                query.indices.reduce(Float(0)) {
                    $0 + query[$1] * bytes.loadUnaligned(fromByteOffset: 4 * $1, as: Float.self)
                }
            }
        }
    }
}

/// Something that embeds one text, prompt included.
public protocol TextEmbedder {
    var facts: Facts { get }
    func vector(of text: String) throws -> [Float]
}

extension TextEmbedder {
    /// Vectors of length 1. Queries get another prompt than documents. Slow: keep it off the main thread.
    public func embed(_ texts: [String], query: Bool = false) throws -> [[Float]] {
        try texts.map { try vector(of: facts.prompted($0, query: query)) }
    }

    /// The places of the documents nearest to a query, with their similarities, best first.
    public func search(_ query: String, in stored: [Data], top: Int = 5) throws -> [(place: Int, score: Float)] {
        let asked = try embed([query], query: true)[0]
        let scores = stored.enumerated().map { (place: $0.offset, score: facts.similarity(asked, $0.element)) }
        return Array(scores.sorted { $0.score > $1.score }.prefix(top))
    }
}
