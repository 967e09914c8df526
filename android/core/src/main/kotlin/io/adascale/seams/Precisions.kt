// The arithmetic of each precision: how it multiplies, which predictors need to know.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text

/** Precisions of branches. */
public object Precisions {
    /** Float kernels, int8 weights with float activations, integers, integers with 16-bit activations. */
    @JvmField
    public val ARITHMETICS: List<String> = listOf("float", "hybrid", "integer", "wide")

    /** The arithmetic of the precisions in bundles that were written before they carried it. */
    private val EARLIER = mapOf(
        "float32" to "float", "float16" to "float", "dynamic" to "hybrid", "int8" to "integer", "qat" to "integer",
        "int16x8" to "wide",
    )

    /**
     * The arithmetic of a precision: one of [ARITHMETICS].
     *
     * @param precision Its name in a manifest.
     * @param told The `cost.arithmetic` of that manifest; empty in old ones.
     * @throws BadInput Neither says it.
     */
    @JvmStatic
    @JvmOverloads
    public fun arithmetic(precision: String, told: String = ""): String {
        val kind = if (told.isEmpty()) EARLIER[precision] else told
        if (kind != null && kind in ARITHMETICS) return kind
        val problem = if (told.isEmpty()) "no arithmetic"
        else "the arithmetic '${Text.excerpt(told)}', which is not one of ${ARITHMETICS.joinToString(", ")}"
        throw BadInput(
            "The precision '${Text.excerpt(precision)}' has $problem; build the bundle again with a version that " +
                "knows it.",
        )
    }
}
