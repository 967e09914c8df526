// Budgets: the limits that a user sets for every inference; absent ones do not apply.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Json

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

        /**
         * A budget from text.
         *
         * @param text Limits by name, such as `latency_ms=5,min_accuracy=0.9`.
         * @throws BadInput The sentence names the piece that is wrong.
         */
        @JvmStatic
        public fun parse(text: String): Budget {
            val limits = LinkedHashMap<String, Double>()
            for (piece in text.split(",")) {
                val name = Text.strip(piece.substringBefore('='))
                if ('=' !in piece || name !in NAMES) {
                    throw BadInput(
                        "'${Text.strip(piece)}' is not a budget; write NAME=NUMBER with a name of " +
                            "${NAMES.joinToString(", ")}.",
                    )
                }
                if (name in limits) throw BadInput("The budget names $name twice; name it once.")
                val value = Text.strip(piece.substringAfter('='))
                limits[name] = checked(name, Text.number(value) ?: Double.NaN, value)
            }
            return of(limits)
        }

        /**
         * A budget from limits by name, such as a trace's or what [Json.parse] gave.
         *
         * @param limits Positive numbers by a name of [NAMES]; null for what is not limited.
         * @throws BadInput There is no such limit, or it is no positive number.
         */
        @JvmStatic
        public fun of(limits: Map<String, Any?>): Budget {
            for ((name, value) in limits) {
                if (name !in NAMES) {
                    throw BadInput(
                        "'${Text.excerpt(name)}' is not a limit of a budget; choose of ${NAMES.joinToString(", ")}.",
                    )
                }
                if (value != null) checked(name, (value as? Number)?.toDouble() ?: Double.NaN, Text.excerpt(value))
            }
            val set = NAMES.map { (limits[it] as? Number)?.toDouble() }
            return Budget(set[0], set[1], set[2], set[3], set[4], set[5], set[6])
        }

        private fun checked(name: String, value: Double, text: String): Double {
            if (value.isNaN() || value.isInfinite() || value <= 0) {
                throw BadInput("The budget's $name should be a positive number, not '$text'.")
            }
            if (name == "min_accuracy" && value > 1) {
                throw BadInput(
                    "The budget's min_accuracy is a share in (0, 1], not ${Text.general(value)}; write " +
                        "${Text.general(value / 100)}.",
                )
            }
            return value
        }
    }
}
