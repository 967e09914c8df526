// Budgets: the limits that a user sets for every inference; absent ones do not apply.
package io.adascale.seams

/**
 * Limits of inferences; null for what is not limited.
 *
 * @property latencyMs Upper limit of each inference's time, in milliseconds.
 * @property energyMj Upper limit of each inference's energy, in millijoules.
 * @property memoryMb Upper limit of memory, in MB.
 * @property minAccuracy The accuracy that a branch must have to answer, in (0, 1].
 * @property powerMw What all inferences together may draw above idle, in mW.
 * @property lifetimeH How long the battery should last, from the session's start on, in hours.
 * @property temperatureC What the chip should stay below, in degrees Celsius.
 */
public data class Budget @JvmOverloads constructor(
    val latencyMs: Double? = null,
    val energyMj: Double? = null,
    val memoryMb: Double? = null,
    val minAccuracy: Double? = null,
    val powerMw: Double? = null,
    val lifetimeH: Double? = null,
    val temperatureC: Double? = null,
) {
    /** The limits that are set, by name (`latency_ms`, ...), in the order of the constructor. */
    public fun limits(): Map<String, Double> {
        val all = listOf(latencyMs, energyMj, memoryMb, minAccuracy, powerMw, lifetimeH, temperatureC)
        val found = LinkedHashMap<String, Double>()
        for ((name, value) in NAMES.zip(all)) {
            if (value != null) found[name] = value
        }
        return found
    }

    public companion object {
        /** The names of all limits. */
        @JvmField
        public val NAMES: List<String> = listOf(
            "latency_ms", "energy_mj", "memory_mb", "min_accuracy", "power_mw", "lifetime_h", "temperature_c",
        )
    }
}
