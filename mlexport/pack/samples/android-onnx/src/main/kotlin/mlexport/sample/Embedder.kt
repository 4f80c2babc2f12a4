// SPDX-License-Identifier: Apache-2.0
package mlexport.sample

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import ai.onnxruntime.extensions.OrtxPackage
import android.content.Context
import org.json.JSONObject

/**
 * Texts to vectors with the model of this module. It takes strings: the tokenizer, Unicode's NFC, the end token and
 * the cut to the longest text are inside. Slow calls: keep them off the main thread.
 */
class Embedder(private val facts: JSONObject, model: ByteArray) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = OrtSession.SessionOptions().use { options ->
        options.registerCustomOpLibrary(OrtxPackage.getPackage().libraryPath)
        environment.createSession(model, options)
    }
    val vectors = Vectors(facts)

    /** Vectors of length 1, [texts][dim]. Queries get another prompt than documents. */
    fun embed(texts: List<String>, query: Boolean = false): Array<FloatArray> {
        val prompt = facts.getJSONObject("prompts").optString(if (query) "query" else "document", "")
        return texts.map { run(prompt + it) }.toTypedArray()
    }

    /** The places of the documents nearest to a query, with their similarities, best first. */
    fun search(query: String, stored: List<ByteArray>, top: Int = 5): List<Pair<Int, Float>> {
        val vector = embed(listOf(query), query = true)[0]
        return stored.indices.map { it to vectors.similarity(vector, stored[it]) }.sortedByDescending { it.second }.take(top)
    }

    override fun close() = session.close()

    private fun run(text: String): FloatArray {
        OnnxTensor.createTensor(environment, arrayOf(text)).use { input ->
            session.run(mapOf("text" to input), setOf("sentence_embedding")).use { found ->
                @Suppress("UNCHECKED_CAST")
                return (found[0].value as Array<FloatArray>)[0]
            }
        }
    }

    companion object {
        /** Reads this module's assets. */
        fun open(context: Context): Embedder {
            fun read(name: String) = context.assets.open(name).use { it.readBytes() }
            val facts = JSONObject(read("model.json").decodeToString())
            return Embedder(facts, read(facts.getString("file")))
        }
    }
}
