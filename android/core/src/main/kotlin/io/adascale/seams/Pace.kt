// Pace: how fast a device was while something was measured, told by anchors.
package io.adascale.seams

/**
 * What the anchors took at a moment, in milliseconds; null for one that this device cannot run.
 *
 * Anchors are small fixed kernels that run beside every block of timed runs. A latency divided by the time of the
 * anchor of the same arithmetic is a relative cost, which hardly depends on the moment.
 *
 * @property run How many timed runs were done before.
 * @property floatMs Floating-point arithmetic in the caches.
 * @property integerMs Integer arithmetic in the caches.
 * @property memoryMs Moving memory.
 * @property timeS When, in seconds on the monotonic clock of the device, as contexts have it.
 */
public data class Pace @JvmOverloads constructor(
    val run: Int,
    val floatMs: Double? = null,
    val integerMs: Double? = null,
    val memoryMs: Double? = null,
    val timeS: Double? = null,
) {
    /** What the anchor of that kind (one of [KINDS]) took, in milliseconds. */
    public fun of(kind: String): Double? = when (kind) {
        "float" -> floatMs
        "integer" -> integerMs
        "memory" -> memoryMs
        else -> throw IllegalArgumentException("$kind is none of ${KINDS.joinToString(", ")}")
    }

    public companion object {
        /** Kinds of anchors. */
        @JvmField
        public val KINDS: List<String> = listOf("float", "integer", "memory")

        /** The least that an anchor can take, in milliseconds: the resolution of clocks. */
        public const val SHORTEST_MS: Double = 1e-6

        /** The most that an anchor can take, in milliseconds: eleven days, as other latencies. */
        public const val LONGEST_MS: Double = 1e9
    }
}
