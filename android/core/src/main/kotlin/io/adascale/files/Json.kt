// JSON to plain values and back, as strict as adascale's Python reader, and without a library.
package io.adascale.files

import io.adascale.BadInput
import io.adascale.Text
import java.nio.ByteBuffer
import java.nio.charset.CodingErrorAction

/**
 * A small JSON reader and writer.
 *
 * Parsed values are `null`, [Boolean], [Long], [Double], [String], `List<Any?>` and `Map<String, Any?>`, whose keys
 * keep their order. A number is a [Double] where it is written with a point or an exponent.
 */
public object Json {
    /** Levels of lists and objects that parsed JSON may have. */
    public const val DEPTH: Int = 64

    /** What stands for a whole number that 64 bits do not hold until it is refused. */
    internal object TooLong

    /**
     * Parsed JSON from outside; [where] names its source in sentences.
     *
     * A byte order mark is skipped. NaN, infinities and a key that is given twice are refused, since readers differ in
     * what they make of them; so are numbers that are not finite or need more than 64 bits, unpaired surrogates, and
     * what is nested deeper than [DEPTH].
     *
     * @throws BadInput It is not such JSON.
     */
    @JvmStatic
    public fun parse(content: ByteArray, where: String): Any? = parse(decoded(content, where), where)

    /** As above, of text. */
    @JvmStatic
    public fun parse(content: String, where: String): Any? {
        val text = if (content.startsWith("\uFEFF")) content.substring(1) else content
        val parsed = try {
            JsonReader(text).whole()
        } catch (error: JsonReader.Wrong) {
            throw BadInput(
                "$where is not JSON (${Text.excerpt(error.reason, 120)}); was it cut off while it was written?",
            )
        } catch (_: JsonReader.TooDeep) {
            throw BadInput(
                "${where.take(200)} is nested deeper than $DEPTH levels, too deeply to be one of adascale's files.",
            )
        }
        check(parsed, where)
        return parsed
    }

    /** Pretty JSON text, with a final newline, as the Python side writes it: one blank for each level. */
    @JvmStatic
    public fun dump(value: Any?): String = StringBuilder().also { write(it, value, 0, ": ") }.append('\n').toString()

    /** One JSON line, with its newline. */
    @JvmStatic
    public fun dumpLine(value: Any?): String =
        StringBuilder().also { write(it, value, null, ":") }.append('\n').toString()

    /** A value in the middle of a sentence. */
    internal fun shown(value: Any?): String =
        Text.excerpt(StringBuilder().also { write(it, value, null, ": ", ", ") }.toString())

    private fun decoded(content: ByteArray, where: String): String {
        val decoder = Charsets.UTF_8.newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT)
        val from = ByteBuffer.wrap(content)
        val to = java.nio.CharBuffer.allocate(content.size)
        val result = decoder.decode(from, to, true)
        if (result.isError) {
            throw BadInput("$where is not UTF-8 text (at byte ${from.position()}); save it as UTF-8.")
        }
        decoder.flush(to)
        return String(to.array(), 0, to.position())
    }

    /** Refuses what not every reader can hold. */
    private fun check(data: Any?, where: String) {
        when (data) {
            is String -> checkText(data, where)
            is Double -> if (data.isNaN() || data.isInfinite()) {
                throw BadInput("$where is not a finite number (${Text.repr(data)}); write null for a missing value.")
            }
            TooLong -> throw BadInput("$where is a whole number of more than 64 bits; write a smaller one.")
            is Map<*, *> -> for ((key, item) in data) {
                checkText(key as String, where)
                if (!isPlain(item)) check(item, below(where, key))
            }
            is List<*> -> for ((index, item) in data.withIndex()) {
                if (!isPlain(item)) check(item, "$where[$index]")
            }
        }
    }

    /** Whether there is nothing to check: most items, so that their places need not be put into words. */
    private fun isPlain(item: Any?): Boolean = when (item) {
        is Double -> item - item == 0.0
        is String -> item.all { it.code < 0x80 }
        else -> item == null || item is Long || item is Boolean
    }

    internal fun below(where: String, key: String): String = where + "." + Text.excerpt(key)

    private fun checkText(text: String, where: String) {
        var at = 0
        while (at < text.length) {
            val c = text[at]
            val paired = Character.isHighSurrogate(c) && at + 1 < text.length && Character.isLowSurrogate(text[at + 1])
            if (Character.isSurrogate(c) && !paired) {
                throw BadInput(
                    "$where holds an unpaired surrogate (\\u${Text.hex(c.code, 4)}); write the file again.",
                )
            }
            at += if (paired) 2 else 1
        }
    }

    private fun write(out: StringBuilder, value: Any?, indent: Int?, colon: String, comma: String = ",") {
        when (value) {
            null -> out.append("null")
            is String -> writeText(out, value)
            is Boolean -> out.append(value)
            is Double -> out.append(if (value.isNaN() || value.isInfinite()) "null" else Text.repr(value))
            is Float -> write(out, value.toDouble(), indent, colon, comma)
            is Int, is Long, is Short, is Byte -> out.append(value)
            is Map<*, *> -> writeItems(out, value.entries, "{", "}", indent, comma) { (key, item), deeper ->
                writeText(out, key.toString())
                out.append(colon)
                write(out, item, deeper, colon, comma)
            }
            is Iterable<*> -> writeItems(out, value, "[", "]", indent, comma) { item, deeper ->
                write(out, item, deeper, colon, comma)
            }
            else -> throw IllegalArgumentException("cannot write a ${value.javaClass.simpleName} as JSON")
        }
    }

    private fun <T> writeItems(
        out: StringBuilder, items: Iterable<T>, open: String, close: String, indent: Int?, comma: String,
        one: (T, Int?) -> Unit,
    ) {
        val deeper = if (indent == null) null else indent + 1
        var first = true
        out.append(open)
        for (item in items) {
            if (!first) out.append(comma)
            if (deeper != null) newline(out, deeper)
            one(item, deeper)
            first = false
        }
        if (!first && indent != null) newline(out, indent)
        out.append(close)
    }

    private fun newline(out: StringBuilder, indent: Int) {
        out.append('\n')
        repeat(indent) { out.append(' ') }
    }

    private fun writeText(out: StringBuilder, text: String) {
        out.append('"')
        for (c in text) {
            when (c) {
                '"' -> out.append("\\\"")
                '\\' -> out.append("\\\\")
                '\n' -> out.append("\\n")
                '\r' -> out.append("\\r")
                '\t' -> out.append("\\t")
                '\b' -> out.append("\\b")
                '\u000c' -> out.append("\\f")
                in ' '..'~' -> out.append(c)
                else -> out.append("\\u").append(Text.hex(c.code, 4))
            }
        }
        out.append('"')
    }
}
