// What a person should know of accuracy that a bundle's branches lost, before using it.
package io.adascale.seams

/** Warnings about losses of accuracy. */
public object Losses {
    /** Points of accuracy below the full branch from which a structure is said to have collapsed. */
    private const val COLLAPSED = 15.0

    /** A sentence for each thing that a person should know about a bundle before using it; empty if nothing is wrong. */
    @JvmStatic
    public fun remarks(manifest: Manifest): List<String> {
        val sentences = ArrayList<String>()
        for (branch in manifest.branches.filter { manifest.lossy(it) }) {
            sentences.add(
                "Branch '${branch.recipe}' loses ${fixed(branch.loss)} points of accuracy as a file " +
                    "(${percent(branch.floatAccuracy ?: 0.0)} -> ${percent(branch.accuracy.value)}); try another " +
                    "precision, such as int16x8 or dynamic.",
            )
        }
        manifest.leftOut.mapTo(sentences) { (recipe, reason) -> "Branch '$recipe' is left out: $reason." }
        collapsed(manifest)?.let { sentences.add(it) }
        given(manifest)?.let { sentences.add(it) }
        return sentences
    }

    private fun collapsed(manifest: Manifest): String? {
        val full = manifest.branches.firstOrNull { it.recipe == Recipe.FULL }?.floatAccuracy ?: return null
        val low = manifest.branches.filter { branch ->
            branch.floatAccuracy.let { it != null && 100 * (full - it) > COLLAPSED }
        }
        if (low.isEmpty()) return null
        val named = low.joinToString(", ") { "${it.recipe} (${percent(it.floatAccuracy ?: 0.0)})" }
        return "Already as float networks these stand more than 15 points below full (${percent(full)}): $named; " +
            "train longer, or choose milder steps."
    }

    private fun given(manifest: Manifest): String? {
        val given = manifest.given?.value ?: return null
        val full = manifest.branches.firstOrNull { it.recipe == Recipe.FULL }?.accuracy?.value ?: return null
        if (full >= given) return null
        return "The branch 'full' is ${fixed(100 * (given - full))} points worse than the model as it was given " +
            "(${percent(given)} -> ${percent(full)}); train with more data or for another number of epochs."
    }

    private fun percent(share: Double) = fixed(100 * share) + "%"

    /** One digit after the point, rounded as Python does: exactly, halves to even. */
    private fun fixed(value: Double): String =
        java.math.BigDecimal(value).setScale(1, java.math.RoundingMode.HALF_EVEN).toPlainString()
}
