// The parser behind Json.parse. It refuses what RFC 8259 does not allow, in the words of Python's json module.
package io.adascale.files

import io.adascale.Text

internal class JsonReader(private val text: String) {
    /** What is wrong with the text, and where. */
    class Wrong(val reason: String) : Exception(reason)

    /** There are more levels than [Json.DEPTH]. */
    class TooDeep : Exception()

    private var at = 0

    /** The one value that the text is. */
    fun whole(): Any? {
        skipSpace()
        val value = value(0)
        skipSpace()
        if (at < text.length) throw wrong("Extra data")
        return value
    }

    private fun value(depth: Int): Any? {
        if (at >= text.length) throw wrong("Expecting value")
        return when (val c = text[at]) {
            '"' -> string()
            '{' -> entered(depth) { members(depth + 1) }
            '[' -> entered(depth) { items(depth + 1) }
            '-', in '0'..'9' -> number()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> {
                val constant = CONSTANTS.firstOrNull { c in "NI" && text.startsWith(it, at) }
                throw if (constant != null) Wrong("$constant is not a JSON number") else wrong("Expecting value")
            }
        }
    }

    private fun <T> entered(depth: Int, read: () -> T): T {
        if (depth >= Json.DEPTH) throw TooDeep()
        at++
        skipSpace()
        return read()
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) throw wrong("Expecting value")
        at += word.length
        return value
    }

    private fun members(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        if (taken('}')) return found
        while (true) {
            if (at >= text.length || text[at] != '"') throw wrong("Expecting property name enclosed in double quotes")
            val key = string()
            skipSpace()
            if (!taken(':')) throw wrong("Expecting ':' delimiter")
            skipSpace()
            if (found.containsKey(key)) throw Wrong("'${Text.excerpt(key)}' is given twice")
            found[key] = value(depth)
            skipSpace()
            if (taken('}')) return found
            if (!taken(',')) throw wrong("Expecting ',' delimiter")
            skipSpace()
        }
    }

    private fun items(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        if (taken(']')) return found
        while (true) {
            found.add(value(depth))
            skipSpace()
            if (taken(']')) return found
            if (!taken(',')) throw wrong("Expecting ',' delimiter")
            skipSpace()
        }
    }

    private fun taken(c: Char): Boolean {
        if (at >= text.length || text[at] != c) return false
        at++
        return true
    }

    private fun string(): String {
        val begin = at++
        val plain = at
        while (at < text.length && text[at] != '"' && text[at] != '\\' && text[at] >= ' ') at++
        if (at < text.length && text[at] == '"') return text.substring(plain, at++)
        val built = StringBuilder(text.substring(plain, at))
        while (true) {
            if (at >= text.length) throw wrong("Unterminated string starting at", begin)
            val c = text[at]
            when {
                c == '"' -> {
                    at++
                    return built.toString()
                }
                c == '\\' -> built.append(escape(begin))
                c < ' ' -> throw wrong("Invalid control character at")
                else -> {
                    built.append(c)
                    at++
                }
            }
        }
    }

    private fun escape(begin: Int): Char {
        if (at + 1 >= text.length) throw wrong("Unterminated string starting at", begin)
        val c = text[at + 1]
        if (c == 'u') return unicode()
        val meant = ESCAPES[c] ?: throw wrong("Invalid \\escape")
        at += 2
        return meant
    }

    private fun unicode(): Char {
        // Its last digit may not be the last of the text, either, as in Python: the string goes on.
        val digits = if (at + 6 < text.length) text.substring(at + 2, at + 6) else ""
        if (digits.isEmpty() || digits.any { it !in '0'..'9' && it !in 'a'..'f' && it !in 'A'..'F' }) {
            throw wrong("Invalid \\uXXXX escape", at + 1)
        }
        at += 6
        return Integer.parseInt(digits, 16).toChar()
    }

    private fun number(): Any {
        val begin = at
        taken('-')
        if (!taken('0')) digits(begin)
        var whole = true
        if (at + 1 < text.length && text[at] == '.' && text[at + 1] in '0'..'9') {
            at++
            digits(begin)
            whole = false
        }
        if (at < text.length && (text[at] == 'e' || text[at] == 'E')) {
            val signed = at + 1 < text.length && (text[at + 1] == '+' || text[at + 1] == '-')
            val first = at + if (signed) 2 else 1
            if (first < text.length && text[first] in '0'..'9') {
                at = first
                digits(begin)
                whole = false
            }
        }
        val number = text.substring(begin, at)
        return if (whole) number.toLongOrNull() ?: Json.TooLong else number.toDouble()
    }

    private fun digits(begin: Int) {
        if (at >= text.length || text[at] !in '0'..'9') {
            throw if (text.startsWith("-Infinity", begin)) Wrong("-Infinity is not a JSON number")
            else wrong("Expecting value", begin)
        }
        while (at < text.length && text[at] in '0'..'9') at++
    }

    private fun skipSpace() {
        while (at < text.length && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) at++
    }

    /** What is wrong at a place, which is counted in characters of Unicode. */
    private fun wrong(what: String, place: Int = at): Wrong {
        val line = text.substring(0, place).count { it == '\n' } + 1
        val begin = if (place == 0) 0 else text.lastIndexOf('\n', place - 1) + 1
        val column = text.codePointCount(begin, place) + 1
        return Wrong("$what: line $line column $column (char ${text.codePointCount(0, place)})")
    }

    private companion object {
        val CONSTANTS = listOf("NaN", "Infinity")
        val ESCAPES = mapOf(
            '"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b', 'f' to '\u000c', 'n' to '\n', 'r' to '\r', 't' to '\t',
        )
    }
}
