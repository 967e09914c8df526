package io.adascale.policies

import java.math.BigDecimal
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

    /** `round(value, N)`. */
    fun rounded(value: Double, digits: Int): Double {
        if (value.isNaN() || value.isInfinite()) return value
        return BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN).toDouble()
    }

    private fun odd(value: Double): String = if (value.isNaN()) "nan" else if (value > 0.0) "inf" else "-inf"
}
