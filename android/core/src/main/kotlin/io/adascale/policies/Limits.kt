package io.adascale.policies

import io.adascale.BadInput
import io.adascale.seams.Budget
import io.adascale.seams.Context

/** How cautious the policy is. */
public data class Settings @JvmOverloads constructor(
    /** The share of deadlines that may be missed, in the mean over about [patienceS]: more for a while after fewer. */
    public val misses: Double = 0.04,
    /** The time constant of that mean, in seconds. */
    public val patienceS: Double = 30.0,
    /** A costlier branch is taken only if it fits into this share of the limits. */
    public val headroom: Double = 0.9,
    /** How many seconds a branch serves before a costlier one may follow, which pays for switching. */
    public val dwellS: Double = 0.4,
    /** What the full battery holds, in watt-hours, for budgets of [Budget.lifetimeH]. */
    public val batteryWh: Double = 15.0,
    /** Memory that is left to the device, in MB: what does not fit beside it is not loaded. */
    public val reserveMb: Double = 64.0,
    /**
     * What is expected of CPUs when the cap of their clock is lowered: at most so many times the slowdown that was seen
     * before; 1 leaves the cap out of it.
     */
    public val clock: Double = 3.0,
    /** How many seconds ahead load and temperature are looked at, along their trend; 0 takes them as they are. */
    public val forecastS: Double = 0.0,
    /** How fast what was seen is learned and forgotten. */
    public val learning: Learning = Learning(),
)

/**
 * Every limit but that of time, as it stands now. A limit on a quantity that is not known excludes nothing.
 *
 * An instance is reused: [set] fills it for a context.
 */
public class Limits {
    /** What inferences may draw together, in mW; NaN for no limit. */
    public var powerMw: Double = Double.NaN
        private set

    /** The energy of an inference (its time, where energy is unknown) that the device's heat allows. */
    public var effort: Double = Double.POSITIVE_INFINITY
        private set

    private var minAccuracy = Double.NaN
    private var energyMj = Double.NaN
    private var memoryMb = Double.NaN
    private var energies: DoubleArray? = null

    /**
     * Takes the limits in a context.
     *
     * @param budget what is limited.
     * @param table the options.
     * @param context what the device has left.
     * @param timeS seconds since the session's start.
     * @param settings what the battery holds.
     * @param energies how many times the predicted energy inferences really take, by the table's engines; null for 1.
     * @param restMw what the device draws without inferences, in mW; NaN where it is not known.
     * @param riseC by how much the temperature is going to rise.
     */
    internal fun set(
        budget: Budget, table: Table, context: Context, timeS: Double, settings: Settings,
        energies: DoubleArray?, restMw: Double, riseC: Double,
    ) {
        minAccuracy = budget.minAccuracy ?: Double.NaN
        energyMj = budget.energyMj ?: Double.NaN
        memoryMb = budget.memoryMb ?: Double.NaN
        this.energies = energies
        powerMw = allowedMw(budget, context, timeS, settings, restMw)
        val share = thermalShare(budget, context, riseC)
        effort = Double.POSITIVE_INFINITY
        if (share < 1.0) {
            var most = 0.0
            val slots = table.slots
            for (index in slots.indices) most = Math.max(most, effortOf(table, slots[index]))
            effort = share * most
        }
    }

    /** Whether the option of a slot keeps them all if it draws [powerMw] (NaN where that is not known). */
    internal fun keep(table: Table, slot: Int, powerMw: Double): Boolean {
        val root = table.root
        // What is not known, or not limited, is NaN, which no comparison holds for.
        if (root.accuracy[slot] < minAccuracy) return false
        if (energyOf(root, slot, energies) > energyMj) return false
        if (root.memoryMb[slot] > memoryMb) return false
        if (powerMw > this.powerMw) return false
        return effort == Double.POSITIVE_INFINITY || effortOf(root, slot) <= effort
    }

    private fun effortOf(table: Table, slot: Int): Double {
        val energy = energyOf(table, slot, energies)
        return if (energy.isNaN()) table.latencyMs[slot] else energy
    }

    public companion object {
        /** Degrees below the limit from which on branches are held back, the costly ones first. */
        public const val THERMAL_MARGIN_C: Double = 3.0

        /** No amount of energy is further from what was predicted. */
        private const val MOST = 1e9

        /** The energy of an inference in mJ, as corrected; NaN where it is not known. */
        internal fun energyOf(table: Table, slot: Int, energies: DoubleArray?): Double {
            val energy = table.energyMj[slot]
            return if (energies == null) energy else energy * energies[table.engine[slot]]
        }

        /** Whether a factor of predicted energy is possible. */
        internal fun possible(factor: Double): Boolean = factor > 0.0 && factor <= MOST

        /**
         * The power that inferences may draw, in mW: the limit itself, and what is left of the battery over the time it
         * should last, less [restMw] (NaN where it is not known), which the device draws without them; NaN for no limit.
         */
        @JvmStatic
        public fun allowedMw(
            budget: Budget, context: Context, timeS: Double, settings: Settings, restMw: Double,
        ): Double {
            var limit = budget.powerMw ?: Double.NaN
            val lifetimeH = budget.lifetimeH
            val battery = context.battery
            if (lifetimeH != null && battery != null) {
                val hours = Math.max(1.0 / 60, lifetimeH - timeS / 3600)
                val rest = if (restMw.isNaN()) 0.0 else restMw
                val left = Math.max(0.0, 1e3 * battery * settings.batteryWh / hours - rest)
                limit = if (limit.isNaN()) left else Math.min(limit, left)
            }
            return limit
        }

        /** The share of the costliest branch's effort that is allowed: 1 well below the limit of heat, 0 at it. */
        @JvmStatic
        public fun thermalShare(budget: Budget, context: Context, riseC: Double): Double {
            val limit = budget.temperatureC
            val now = context.temperatureC
            if (limit == null || now == null) return 1.0
            return Math.min(1.0, Math.max(0.0, (limit - now - riseC) / THERMAL_MARGIN_C))
        }

        /**
         * The limits that cannot be kept because the device does not report what they are on.
         *
         * @param budget the limits.
         * @param context what the device tells.
         * @param bestEffort whether such limits are named instead of refused.
         * @throws BadInput there is such a limit, and [bestEffort] is not given.
         */
        @JvmStatic
        public fun checkSignals(budget: Budget, context: Context, bestEffort: Boolean): List<String> {
            val silent = ArrayList<String>()
            if (budget.temperatureC != null && context.temperatureC == null) silent.add("temperature_c")
            if (budget.lifetimeH != null && context.battery == null) silent.add("lifetime_h")
            if (silent.isNotEmpty() && !bestEffort) {
                throw BadInput(
                    "The budget limits ${silent[0]}, but this device does not report ${noun(silent[0])}; remove the " +
                        "limit, or ignore it with --best-effort.",
                )
            }
            return silent
        }

        /**
         * Which limits of a budget nothing is known about, and what is missing: by the limit's name, such as
         * `temperature_c: temperature` or `energy_mj: energy of 2 of 3 branches`.
         *
         * @param budget the limits.
         * @param table the options, with or without energy and memory.
         * @param contexts what the device told, over a session or a trace.
         */
        @JvmStatic
        public fun unknown(budget: Budget, table: Table, contexts: List<Context>): Map<String, String> {
            val missing = LinkedHashMap<String, String>()
            if (budget.temperatureC != null && contexts.all { it.temperatureC == null }) {
                missing["temperature_c"] = noun("temperature_c")
            }
            if (budget.lifetimeH != null && contexts.all { it.battery == null }) {
                missing["lifetime_h"] = noun("lifetime_h")
            }
            val energies = table.options.count { it.energyMj == null }
            lacking(missing, "energy_mj", budget.energyMj, "energy", energies, table.size)
            lacking(missing, "power_mw", budget.powerMw, "energy", energies, table.size)
            lacking(missing, "lifetime_h", budget.lifetimeH, "energy", energies, table.size)
            val memories = table.options.count { it.memoryMb == null }
            lacking(missing, "memory_mb", budget.memoryMb, "memory", memories, table.size)
            return missing
        }

        /** The limits of a budget that are kept by predicted energy. */
        @JvmStatic
        public fun onEnergy(budget: Budget): List<String> {
            val names = ArrayList<String>()
            if (budget.energyMj != null) names.add("energy_mj")
            if (budget.powerMw != null) names.add("power_mw")
            if (budget.lifetimeH != null) names.add("lifetime_h")
            return names
        }

        /** What a device must tell for a limit to be kept, in a sentence. */
        @JvmStatic
        public fun noun(limit: String): String = if (limit == "temperature_c") "temperature" else "battery charge"

        private fun lacking(
            missing: MutableMap<String, String>, limit: String, wanted: Double?, amount: String, count: Int, all: Int,
        ) {
            if (wanted == null || count == 0 || limit in missing) return
            missing[limit] = amount + " of " + if (count == all) "any branch" else "$count of $all branches"
        }
    }
}
