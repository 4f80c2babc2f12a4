// SPDX-License-Identifier: Apache-2.0
package mlexport.sample

import org.json.JSONObject
import kotlin.math.sqrt

/** How vectors are stored and compared, as model.json says. */
class Vectors(facts: JSONObject) {
    private val settings = facts.getJSONObject("vectors")
    val precision: String = settings.getString("precision")
    private val range = settings.optDouble("range", 0.0).toFloat()

    /** Bytes of a stored vector: little-endian floats, codes from -127 to 127, or a sign a bit. */
    fun stored(vector: FloatArray): ByteArray = when (precision) {
        "int8" -> ByteArray(vector.size) { i ->
            Math.rint((vector[i] * (127 / range)).toDouble()).coerceIn(-127.0, 127.0).toInt().toByte()
        }
        "binary" -> ByteArray((vector.size + 7) / 8).also { bits ->
            for (i in vector.indices) {
                if (vector[i] > 0) bits[i / 8] = (bits[i / 8].toInt() or (128 shr (i % 8))).toByte()
            }
        }
        else -> ByteArray(4 * vector.size).also { bytes -> floats(bytes).put(vector) }
    }

    /** Cosine of a query's vector and a stored one; with signs alone it orders documents, but is no cosine. */
    fun similarity(query: FloatArray, stored: ByteArray): Float {
        val floats = if (precision == "f32") floats(stored) else null
        var sum = 0f
        for (i in query.indices) {
            sum += query[i] * when (precision) {
                "int8" -> stored[i] * (range / 127)
                "binary" -> (((stored[i / 8].toInt() shr (7 - i % 8)) and 1) * 2 - 1) / sqrt(query.size.toFloat())
                else -> floats!!.get(i)
            }
        }
        return sum
    }

    private fun floats(bytes: ByteArray) =
        java.nio.ByteBuffer.wrap(bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
}
