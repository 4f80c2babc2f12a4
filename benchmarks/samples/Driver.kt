package mlexport.sample

import org.json.JSONArray
import org.json.JSONObject
import java.io.File

/** A JSON list of texts on standard input to vectors, queries' vectors and stored vectors on standard output. */
fun main(arguments: Array<String>) {
    val folder = File(arguments[0])
    val facts = JSONObject(folder.resolve("model.json").readText())
    val asked = JSONArray(System.`in`.readBytes().decodeToString())
    val texts = List(asked.length()) { asked.getString(it) }
    fun rows(vectors: Array<FloatArray>) = JSONArray(vectors.map { JSONArray(it.map(Float::toDouble)) })
    Embedder(facts, folder.resolve(facts.getString("file"))).use { model ->
        val plain = model.embed(texts)
        val stored = plain.map { vector -> JSONArray(model.vectors.stored(vector).map(Byte::toInt)) }
        val found = mapOf("vectors" to rows(plain), "queries" to rows(model.embed(texts, query = true)), "stored" to JSONArray(stored))
        println(JSONObject(found))
    }
}
