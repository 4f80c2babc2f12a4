// SPDX-License-Identifier: Apache-2.0
package mlexport.sample

import android.content.Context
import org.json.JSONObject
import java.io.File
import java.text.Normalizer

/** Texts to vectors with the model of this module, in llama.cpp. Slow calls: keep them off the main thread. */
class Embedder(private val facts: JSONObject, model: File) : AutoCloseable {
    private val handle = Llama.open(model.path).also { require(it != 0L) { "llama.cpp cannot load $model" } }
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

    override fun close() = Llama.close(handle)

    private fun run(text: String): FloatArray {
        val tokens = facts.getJSONObject("tokens")
        // llama.cpp does not compose characters, which the model was trained with
        val bytes = Normalizer.normalize(text, Normalizer.Form.NFC).encodeToByteArray()
        val found = Llama.embed(handle, bytes, tokens.getInt("max_length"), tokens.getInt("end_id"), facts.getInt("dim"))
        return checkNotNull(found) { "llama.cpp cannot run this text" }
    }

    companion object {
        /** llama.cpp reads a file: the model is copied once from this module's assets to the app's own storage. */
        fun open(context: Context): Embedder {
            val facts = JSONObject(context.assets.open("model.json").use { it.readBytes() }.decodeToString())
            val model = File(context.noBackupFilesDir, facts.getString("file"))
            if (model.length() != facts.getLong("bytes")) {
                val copy = File(model.path + ".part")
                context.assets.open(model.name).use { from -> copy.outputStream().use { from.copyTo(it) } }
                check(copy.renameTo(model)) { "cannot write $model" }
            }
            return Embedder(facts, model)
        }
    }
}

/** The functions of src/main/cpp/embedder.cpp. */
internal object Llama {
    init {
        System.loadLibrary("embedder")
    }

    external fun open(path: String): Long

    external fun embed(handle: Long, text: ByteArray, longest: Int, end: Int, dim: Int): FloatArray?

    external fun close(handle: Long)
}
