// Making text from outside (names of phones and models, reasons, file names) safe to show, and numbers as Python shows
// them, so that sentences are the same on a phone and on a computer.
package io.adascale

import java.math.BigDecimal
import java.math.MathContext
import java.math.RoundingMode

/** Text of sentences. */
public object Text {
    /** Longest message that is shown whole, in characters. */
    public const val LIMIT: Int = 2000
    private const val ITEMS = 20

    /**
     * [text] with control characters, lone surrogates and direction marks escaped, cut to [limit] characters.
     *
     * A terminal would obey an escape sequence in a phone's name; here it is seen as `\x1b`.
     */
    @JvmStatic
    @JvmOverloads
    public fun printable(text: String, limit: Int = LIMIT): String {
        val cut = if (length(text) <= limit) text else head(text, limit - 4) + " ..."
        val shown = StringBuilder(cut.length)
        var at = 0
        while (at < cut.length) {
            val point = cut.codePointAt(at)
            at += Character.charCount(point)
            if (point == '\n'.code || point == '\t'.code || isPrintable(point)) shown.appendCodePoint(point)
            else shown.append(escaped(point))
        }
        return shown.toString()
    }

    /** A value from outside as one short line, for the middle of a sentence. */
    @JvmStatic
    @JvmOverloads
    public fun excerpt(value: Any?, limit: Int = 60): String {
        val shown = if (value is String) value else brief(value)
        return printable(words(head(shown, 4 * limit)).joinToString(" "), limit)
    }

    /** A number with at most so many digits, as `%g` of C writes it without needless zeros: `0.5`, `1e+15`, `3`. */
    @JvmStatic
    @JvmOverloads
    public fun general(value: Double, digits: Int = 6): String {
        if (value.isNaN()) return "nan"
        if (value.isInfinite()) return if (value > 0) "inf" else "-inf"
        if (value == 0.0) return if (1.0 / value < 0) "-0" else "0"
        val rounded = BigDecimal(value).round(MathContext(digits, RoundingMode.HALF_EVEN)).stripTrailingZeros()
        return positional(rounded, digits)
    }

    /** A number as Python's `repr` writes it: the shortest decimal that reads back as the same double. */
    @JvmStatic
    public fun repr(value: Double): String {
        if (value.isNaN()) return "nan"
        if (value.isInfinite()) return if (value > 0) "inf" else "-inf"
        if (value == 0.0) return if (1.0 / value < 0) "-0.0" else "0.0"
        val text = positional(shortest(value).stripTrailingZeros(), 16)
        return if (text.any { it == '.' || it == 'e' }) text else "$text.0"
    }

    /** Parts of a text between white space, as Python's `split` finds them. */
    internal fun words(text: String): List<String> = text.split(*SPACES).filter { it.isNotEmpty() }

    /** A text without white space at its ends, as Python's `strip` leaves it. */
    internal fun strip(text: String): String = text.trim { isSpace(it) }

    /** A number as Python's `float` reads it from text without white space around it; null where it reads none. */
    internal fun number(text: String): Double? {
        val ascii = text.map { if (it.code >= 0x80 && Character.isDigit(it)) '0' + Character.digit(it, 10) else it }
        val plain = ascii.joinToString("").lowercase()
        if (NUMBER.matches(plain)) return plain.replace("_", "").toDouble()
        return when (plain.trimStart('+', '-').takeIf { plain.length - it.length < 2 }) {
            "inf", "infinity" -> if (plain[0] == '-') Double.NEGATIVE_INFINITY else Double.POSITIVE_INFINITY
            "nan" -> Double.NaN
            else -> null
        }
    }

    internal fun isSpace(c: Char): Boolean = c in SPACES

    /** A text in Python's quotes. */
    internal fun quoted(text: String): String {
        val quote = if ('\'' in text && '"' !in text) '"' else '\''
        val shown = StringBuilder().append(quote)
        var at = 0
        while (at < text.length) {
            val point = text.codePointAt(at)
            at += Character.charCount(point)
            when {
                point == quote.code || point == '\\'.code -> shown.append('\\').appendCodePoint(point)
                point == '\n'.code -> shown.append("\\n")
                point == '\r'.code -> shown.append("\\r")
                point == '\t'.code -> shown.append("\\t")
                isPrintable(point) -> shown.appendCodePoint(point)
                else -> shown.append(escaped(point))
            }
        }
        return shown.append(quote).toString()
    }

    /** The shortest decimal that reads back as [value]; of several the nearest. */
    private fun shortest(value: Double): BigDecimal {
        val exact = BigDecimal(value)
        // Every decimal of 15 digits survives a normal double, so fewer need not be tried.
        var digits = if (Math.abs(value) < java.lang.Double.MIN_NORMAL) 1 else 15
        while (digits < 17) {
            for (mode in arrayOf(RoundingMode.HALF_EVEN, RoundingMode.FLOOR, RoundingMode.CEILING)) {
                val tried = exact.round(MathContext(digits, mode))
                if (tried.toDouble() == value) return tried
            }
            digits++
        }
        return exact.round(MathContext(17, RoundingMode.HALF_EVEN))
    }

    /** A decimal without needless zeros, positional where its exponent is in [-4, [most]). */
    private fun positional(number: BigDecimal, most: Int): String {
        val exponent = number.precision() - number.scale() - 1
        if (exponent in -4 until most) return number.toPlainString()
        val digits = number.unscaledValue().abs().toString()
        val mantissa = if (digits.length == 1) digits else digits[0] + "." + digits.substring(1)
        val size = Math.abs(exponent).toString().padStart(2, '0')
        return (if (number.signum() < 0) "-" else "") + mantissa + (if (exponent < 0) "e-" else "e+") + size
    }

    /** The representation of a value, of which the end of long ones is left out. */
    private fun brief(value: Any?): String = when (value) {
        null -> "None"
        true -> "True"
        false -> "False"
        is Double -> repr(value)
        is String -> quoted(head(value, LIMIT))
        is List<*> -> "[" + items(value) { brief(it) } + "]"
        is Map<*, *> -> "{" + items(value.entries) { brief(it.key) + ": " + brief(it.value) } + "}"
        else -> value.toString()
    }

    private fun <T> items(all: Collection<T>, one: (T) -> String): String =
        all.take(ITEMS).joinToString(", ", transform = one) + (if (all.size > ITEMS) ", ..." else "")

    private fun length(text: String): Int = text.codePointCount(0, text.length)

    private fun head(text: String, count: Int): String =
        if (length(text) <= count) text else text.substring(0, text.offsetByCodePoints(0, count))

    private fun isPrintable(point: Int): Boolean = point == ' '.code || Character.getType(point).toByte() !in HIDDEN

    private fun escaped(point: Int): String = when {
        point < 0x100 -> "\\x" + hex(point, 2)
        point < 0x10000 -> "\\u" + hex(point, 4)
        else -> "\\U" + hex(point, 8)
    }

    internal fun hex(number: Int, width: Int): String = Integer.toHexString(number).padStart(width, '0')

    private val HIDDEN: Set<Byte> = setOf(
        Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.UNASSIGNED,
        Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR, Character.SPACE_SEPARATOR,
    )

    private const val DIGITS = "[0-9]+(?:_[0-9]+)*"
    private val NUMBER = Regex("[+-]?(?:$DIGITS\\.?(?:$DIGITS)?|\\.$DIGITS)(?:e[+-]?$DIGITS)?")

    /** What Python takes for white space. */
    private val SPACES: CharArray = (
        "\t\n\u000b\u000c\r\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006" +
            "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
        ).toCharArray()
}
