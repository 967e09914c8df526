package io.adascale.policies

import java.math.BigDecimal
import java.math.MathContext
import java.math.RoundingMode

/**
 * Numbers as text, rounded as Python does it: the exact binary value, half to even. Traces of phones and hosts then
 * have the same reasons.
 */
internal object Formats {
    /** `{:.Nf}`. */
    fun fixed(value: Double, digits: Int): String {
        if (value.isNaN() || value.isInfinite()) return odd(value)
        val sign = if (value < 0.0 || 1.0 / value < 0.0) "-" else ""
        return sign + BigDecimal(Math.abs(value)).setScale(digits, RoundingMode.HALF_EVEN).toPlainString()
    }

    /** `{:.N%}`. */
    fun percent(value: Double, digits: Int): String = fixed(value * 100.0, digits) + "%"

    /** `{:.Ng}`; `{:g}` has six digits. */
    fun general(value: Double, digits: Int = 6): String {
        if (value.isNaN() || value.isInfinite()) return odd(value)
        val sign = if (value < 0.0 || (value == 0.0 && 1.0 / value < 0.0)) "-" else ""
        if (value == 0.0) return sign + "0"
        val rounded = BigDecimal(Math.abs(value)).round(MathContext(digits, RoundingMode.HALF_EVEN))
        val exponent = rounded.precision() - rounded.scale() - 1
        if (exponent >= -4 && exponent < digits) return sign + stripped(rounded.toPlainString())
        val mantissa = stripped(rounded.movePointLeft(exponent).toPlainString())
        val power = Math.abs(exponent)
        return sign + mantissa + (if (exponent < 0) "e-" else "e+") + (if (power < 10) "0" else "") + power
    }

    /** `round(value, N)`. */
    fun rounded(value: Double, digits: Int): Double {
        if (value.isNaN() || value.isInfinite()) return value
        return BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN).toDouble()
    }

    private fun stripped(text: String): String = if ('.' in text) text.trimEnd('0').trimEnd('.') else text

    private fun odd(value: Double): String = if (value.isNaN()) "nan" else if (value > 0.0) "inf" else "-inf"
}
