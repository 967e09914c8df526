package io.adascale.policies

import io.adascale.seams.Budget
import io.adascale.seams.Context

/**
 * Which limits of its budget an inference broke, and by how much.
 *
 * An instance is reused: [judge] fills it for an inference.
 */
public class Verdicts {
    // By the place of the limit's name in [Budget.NAMES]; NaN for a limit that was kept.
    private val beyond = DoubleArray(Budget.NAMES.size) { Double.NaN }

    /** Whether every limit was kept. */
    public var kept: Boolean = true
        private set

    /**
     * Judges an inference.
     *
     * Energy is what is predicted, corrected by what a meter told; power is the mean over about [Settings.patienceS];
     * battery life is what is left of the charge at that power and the device's own. What is not known breaks no limit.
     *
     * @param budget the limits.
     * @param option what ran; one of the state's table.
     * @param latencyMs what it took, in ms.
     * @param context what the device had left when it began.
     * @param timeS when it began, in seconds since the session's start.
     * @param state the policy's state after it.
     * @param settings what the battery holds.
     */
    public fun judge(
        budget: Budget, option: Option, latencyMs: Double, context: Context, timeS: Double, state: State,
        settings: Settings,
    ) {
        judge(budget, state.root.slot(option.id), latencyMs, context, timeS, state, settings)
    }

    internal fun judge(
        budget: Budget, slot: Int, latencyMs: Double, context: Context, timeS: Double, state: State,
        settings: Settings,
    ) {
        val table = state.root
        kept = true
        above(LATENCY, latencyMs, budget.latencyMs)
        above(ENERGY, Limits.energyOf(table, slot, state.energies), budget.energyMj)
        above(MEMORY, table.memoryMb[slot], budget.memoryMb)
        above(POWER, state.drawnMw, budget.powerMw)
        val temperature = context.temperatureC
        above(TEMPERATURE, temperature ?: Double.NaN, budget.temperatureC)
        below(ACCURACY, table.accuracy[slot], budget.minAccuracy)
        val lifetimeH = budget.lifetimeH
        below(LIFETIME, if (lifetimeH == null) Double.NaN else lifetimeH(context, timeS, state, settings), lifetimeH)
    }

    /** Every limit that was broken, by name, with how far the inference went beyond it, in the limit's unit. */
    public fun broken(): Map<String, Double> {
        val over = LinkedHashMap<String, Double>()
        for (limit in ORDER) {
            if (!beyond[limit].isNaN()) over[Budget.NAMES[limit]] = Formats.rounded(beyond[limit], 6)
        }
        return over
    }

    private fun above(limit: Int, value: Double, most: Double?) {
        beyond[limit] = if (most != null && value > most) value - most else Double.NaN
        if (!beyond[limit].isNaN()) kept = false
    }

    private fun below(limit: Int, value: Double, least: Double?) {
        beyond[limit] = if (least != null && value < least) least - value else Double.NaN
        if (!beyond[limit].isNaN()) kept = false
    }

    public companion object {
        private const val LATENCY = 0
        private const val ENERGY = 1
        private const val MEMORY = 2
        private const val ACCURACY = 3
        private const val POWER = 4
        private const val LIFETIME = 5
        private const val TEMPERATURE = 6

        /** The order in which limits are told. */
        private val ORDER = intArrayOf(LATENCY, ENERGY, MEMORY, POWER, TEMPERATURE, ACCURACY, LIFETIME)

        /** Whether an inference came late. */
        @JvmStatic
        public fun late(budget: Budget, latencyMs: Double): Boolean {
            val limitMs = budget.latencyMs
            return limitMs != null && latencyMs > limitMs
        }

        /**
         * How long the battery lasts from the session's start on if everything stays as it is, in hours; NaN where
         * charge or power is not known.
         */
        @JvmStatic
        public fun lifetimeH(context: Context, timeS: Double, state: State, settings: Settings): Double {
            val battery = context.battery
            val drawnMw = state.drawnMw
            if (battery == null || drawnMw.isNaN()) return Double.NaN
            val powerW = 1e-3 * (drawnMw + if (state.restMw.isNaN()) 0.0 else state.restMw)
            return if (powerW > 0.0) timeS / 3600 + battery * settings.batteryWh / powerW else Double.NaN
        }
    }
}
