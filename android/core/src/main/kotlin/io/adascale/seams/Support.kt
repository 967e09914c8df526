// What a delegate will take of a branch, known from the file alone: as it stands in manifests.
package io.adascale.seams

import io.adascale.files.Codec
import io.adascale.files.Decode
import io.adascale.files.Fields

/**
 * Operators of one kind that a delegate does not take, for one reason.
 *
 * @property kind The operator, such as "RESIZE_BILINEAR".
 * @property reason Why, as part of a sentence: "half_pixel_centers".
 * @property count How many operators of the branch it is true of.
 */
public data class Refusal @JvmOverloads constructor(val kind: String, val reason: String, val count: Long = 1)

/**
 * What one delegate takes of one branch.
 *
 * @property delegate The delegate, or a variant of it: "gpu", "gpu:classic", "nnapi:1.2", "npu".
 * @property operators Operators of the branch.
 * @property taken How many of them the delegate takes.
 * @property partitions In how many pieces.
 * @property refusals Why the others are left to the CPU, in the file's order.
 * @property warnings What is wrong though all operators are taken, such as outputs that are computed wrongly.
 */
public data class Support @JvmOverloads constructor(
    val delegate: String,
    val operators: Long,
    val taken: Long,
    val partitions: Long,
    val refusals: List<Refusal> = emptyList(),
    val warnings: List<String> = emptyList(),
) {
    /** Whether the delegate takes all of the branch. */
    public val whole: Boolean
        get() = taken == operators

    /** Whether the delegate takes all of the branch, and nothing is known to be wrong with that. */
    public val sound: Boolean
        get() = whole && warnings.isEmpty()

    /** For tables: "all 23", "17 of 23 in 3 parts: RESIZE_BILINEAR with half_pixel_centers (1)", "none: int8". */
    public val words: String
        get() {
            if (whole) return if (partitions <= 1) "all $operators" else "all $operators in $partitions parts"
            val reasons = refusals.map { it.reason }.distinct()
            if (taken == 0L && reasons.size == 1) return "none: " + reasons[0]
            val parts = if (partitions == 1L) "1 part" else "$partitions parts"
            val text = if (taken == 0L) "none" else "$taken of $operators in $parts"
            return text + ": " + refusals.joinToString(", ") { "${it.kind} with ${it.reason} (${it.count})" }
        }

    internal fun toJson(): Map<String, Any?> = linkedMapOf(
        "delegate" to delegate, "operators" to operators, "taken" to taken, "partitions" to partitions,
        "refusals" to refusals.map { linkedMapOf("kind" to it.kind, "reason" to it.reason, "count" to it.count) },
        "warnings" to warnings,
    )

    internal companion object {
        private val refusal: Decode<Refusal> = { data, where ->
            val fields = Fields(data, where)
            Refusal(
                fields.need("kind", Codec.string), fields.need("reason", Codec.string),
                fields.get("count", 1L, Codec.long),
            )
        }

        val decode: Decode<Support> = { data, where ->
            val fields = Fields(data, where)
            Support(
                fields.need("delegate", Codec.string), fields.need("operators", Codec.long),
                fields.need("taken", Codec.long), fields.need("partitions", Codec.long),
                fields.get("refusals", emptyList(), Codec.list(refusal)),
                fields.get("warnings", emptyList(), Codec.list(Codec.string)),
            )
        }
    }
}
