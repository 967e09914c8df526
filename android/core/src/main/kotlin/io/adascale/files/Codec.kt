// Plain JSON values to typed ones, checked: the counterpart of dataclasses and their type hints.
package io.adascale.files

import io.adascale.BadInput

/** Reads one typed value from parsed JSON; the second argument names its place in sentences. */
internal typealias Decode<T> = (Any?, String) -> T

/**
 * The fields of a JSON object. Unknown ones are ignored, so that a newer writer may add facts; those that are missing
 * need a default.
 */
internal class Fields(data: Any?, private val where: String) {
    private val data: Map<*, *> = data as? Map<*, *> ?: throw Codec.wrong(where, "an object", data)

    /** A field that must be there. */
    fun <T> need(name: String, decode: Decode<T>): T {
        if (!data.containsKey(name)) {
            throw BadInput("$where has no '$name'; the file is incomplete, so write it again.")
        }
        return decode(data[name], "$where.$name")
    }

    /** A field that may be missing; [default] is its value then. */
    fun <T> get(name: String, default: T, decode: Decode<T>): T =
        if (data.containsKey(name)) decode(data[name], "$where.$name") else default

    /** A field that may be missing or null. */
    fun <T : Any> maybe(name: String, decode: Decode<T>): T? = get(name, null, Codec.orNull(decode))
}

/** Decoders of values that [Json.parse] gave. Each refuses another type by a [BadInput]. */
internal object Codec {
    val string: Decode<String> = { data, where -> data as? String ?: throw wrong(where, "a string", data) }

    val boolean: Decode<Boolean> = { data, where -> data as? Boolean ?: throw wrong(where, "a true or false", data) }

    val double: Decode<Double> = { data, where ->
        when (data) {
            is Double -> data
            is Long -> data.toDouble()
            else -> throw wrong(where, "a number", data)
        }
    }

    val long: Decode<Long> = { data, where -> data as? Long ?: throw wrong(where, "a whole number", data) }

    /** A whole number of 32 bits: counts and dimensions, of which larger ones make no sense. */
    val int: Decode<Int> = { data, where ->
        val value = long(data, where)
        if (value < Int.MIN_VALUE || value > Int.MAX_VALUE) {
            throw BadInput("$where is a whole number of more than 32 bits; write a smaller one.")
        }
        value.toInt()
    }

    /** Any JSON object, as it is. */
    val anything: Decode<Map<String, Any?>> = { data, where -> members(data, where) }

    val strings: Decode<Map<String, String>> = dict(string)

    val numbers: Decode<Map<String, Double>> = dict(double)

    fun <T : Any> orNull(decode: Decode<T>): Decode<T?> =
        { data, where -> if (data == null) null else decode(data, where) }

    fun <T> list(decode: Decode<T>): Decode<List<T>> = { data, where ->
        if (data !is List<*>) throw wrong(where, "a list", data)
        data.mapIndexed { index, item -> decode(item, "$where[$index]") }
    }

    fun <T> dict(decode: Decode<T>): Decode<Map<String, T>> = { data, where ->
        val found = LinkedHashMap<String, T>()
        for ((key, item) in members(data, where)) found[key] = decode(item, Json.below(where, key))
        found
    }

    fun wrong(where: String, wanted: String, data: Any?): BadInput =
        BadInput("$where should be $wanted, but is ${Json.shown(data)}.")

    @Suppress("UNCHECKED_CAST") // Json.parse gives no other keys
    private fun members(data: Any?, where: String): Map<String, Any?> =
        data as? Map<String, Any?> ?: throw wrong(where, "an object", data)
}
