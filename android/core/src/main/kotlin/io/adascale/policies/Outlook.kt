package io.adascale.policies

import io.adascale.seams.Budget
import io.adascale.seams.Context

/**
 * What is expected of an option now.
 *
 * @property expectedMs the latency, in ms, without excesses.
 * @property boundMs an upper bound of it, in ms, without excesses.
 * @property miss the probability in [0, 1] that it comes late.
 * @property slowdown expected latency over idle latency.
 * @property powerMw what it would draw, in mW; NaN where energy or pace is unknown.
 */
public data class Outlook(
    public val expectedMs: Double,
    public val boundMs: Double,
    public val miss: Double,
    public val slowdown: Double,
    public val powerMw: Double,
)

/**
 * What is expected of options in one context, computed when it is asked for: most decisions need few of them.
 *
 * A state has one, which [look] points at a context; it holds until then or until the state learns more.
 */
public class Prospects internal constructor(private val state: State) {
    private val root = state.root
    private val limits = Limits()
    private var timeS = 0.0
    private var context = Context(0.0)
    private var settings = Settings()
    private var limitMs = Double.NaN

    /** The probability of a miss that is taken now. */
    public var tolerance: Double = 0.0
        private set

    // What was computed in this look, by engine and by slot.
    private var look = 0
    private val viewed = IntArray(root.engines.size)
    private val means = DoubleArray(root.engines.size)
    private val uppers = DoubleArray(root.engines.size)
    private val fresh = DoubleArray(root.engines.size)
    private val levels = IntArray(root.engines.size)
    private val corrected = IntArray(root.size)
    private val owns = DoubleArray(root.size)
    private val judged = IntArray(root.size)
    private val misses = DoubleArray(root.size)
    private val scratch = IntArray(root.size)

    /**
     * Looks at a context.
     *
     * @param context what the device has left.
     * @param timeS seconds since the session's start.
     * @param budget what an inference should keep.
     * @param table the options that can be chosen.
     * @param settings how cautious to be.
     */
    public fun look(context: Context, timeS: Double, budget: Budget, table: Table, settings: Settings): Prospects {
        look++
        this.context = context
        this.timeS = timeS
        this.settings = settings
        limitMs = budget.latencyMs ?: Double.NaN
        val riseC = if (settings.forecastS != 0.0) state.heat.rise(settings.forecastS) else 0.0
        limits.set(budget, table, context, timeS, settings, state.energies, state.restMw, riseC)
        tolerance = tolerance(state, settings)
        return this
    }

    /** What is expected of an option, whether it ran lately or not. */
    public fun of(option: Option): Outlook {
        val slot = root.slot(option.id)
        return Outlook(expectedMs(slot), boundMs(slot), miss(slot), slowdown(slot), powerMw(slot))
    }

    /** Whether an option keeps every limit but that of time. */
    public fun allowed(option: Option): Boolean = allowed(root.slot(option.id))

    /** Whether an option keeps every limit, those of time with a [share] of them. */
    @JvmOverloads
    public fun fits(option: Option, share: Double = 1.0): Boolean = fits(root.slot(option.id), share)

    /** The mean slowdown of an engine of the table. */
    public fun mean(engine: Engine): Double {
        val index = root.engines.indexOf(engine)
        view(index)
        return means[index]
    }

    internal fun expectedMs(slot: Int): Double {
        val engine = root.engine[slot]
        view(engine)
        return ownMs(slot) * means[engine]
    }

    internal fun boundMs(slot: Int): Double {
        val engine = root.engine[slot]
        view(engine)
        return ownMs(slot) * uppers[engine]
    }

    internal fun slowdown(slot: Int): Double = expectedMs(slot) / root.latencyMs[slot]

    /** The probability in [0, 1] that an option comes late; 0 without a limit of latency. */
    internal fun miss(slot: Int): Double = if (limitMs.isNaN()) 0.0 else lateness(slot)

    internal fun allowed(slot: Int): Boolean =
        limits.keep(root, slot, if (limits.powerMw.isNaN()) Double.NaN else powerMw(slot))

    internal fun fits(slot: Int, share: Double): Boolean {
        if (!limitMs.isNaN()) {
            if (boundMs(slot) > limitMs * share) return false // most options end here
            if (lateness(slot) > tolerance * share) return false
        }
        return allowed(slot)
    }

    /** The allowed ones of some slots, in their order, at the beginning of an array that the next call fills anew. */
    internal fun allowedOf(slots: IntArray): IntArray {
        var count = 0
        for (index in slots.indices) if (allowed(slots[index])) scratch[count++] = slots[index]
        return scratch
    }

    /** The latency of an option at rest, as it differs from the others of its engine, in ms. */
    private fun ownMs(slot: Int): Double {
        if (corrected[slot] != look) {
            corrected[slot] = look
            owns[slot] = root.latencyMs[slot] * state.correction(slot).factorAt(timeS, settings.learning.memoryS)
        }
        return owns[slot]
    }

    private fun powerMw(slot: Int): Double {
        val energy = Limits.energyOf(root, slot, state.energies)
        val periodS = state.periodS
        if (energy.isNaN() || periodS.isNaN() || periodS == 0.0) return Double.NaN
        return energy / Math.max(periodS, expectedMs(slot) / 1e3)
    }

    private fun lateness(slot: Int): Double {
        if (judged[slot] == look) return misses[slot]
        judged[slot] = look
        val engine = root.engine[slot]
        view(engine)
        val ownMs = ownMs(slot)
        val slackMs = limitMs - ownMs * uppers[engine]
        misses[slot] = if (slackMs < 0.0) {
            1.0
        } else {
            val level = levels[engine]
            val rate = Pressure.rate(
                state.excesses[engine], state.habit(engine, level), level, slackMs, settings.learning, fresh[engine],
            )
            1.0 - Math.exp(-rate * ownMs * means[engine])
        }
        return misses[slot]
    }

    /** How an engine is doing, from what was seen on it and from the context. */
    private fun view(index: Int) {
        if (viewed[index] == look) return
        viewed[index] = look
        val learning = settings.learning
        val engine = state.engine(index)
        val window = state.windows[index]
        val keep = window.kept(timeS, learning.windowS)
        val weight = window.weight * keep
        val ratios = window.ratios * keep
        val deviation = 1.25 * (window.apart * keep) / (weight + 1.0)
        val more = if (settings.forecastS != 0.0) state.load.rise(settings.forecastS) else 0.0
        levels[index] = Pressure.crowding(context, engine, more)
        var mean = (ratios + 1.0) / (weight + 1.0)
        var upper = mean + learning.caution * deviation
        val cap = context.clockCapMhz
        if (cap != null && state.capMhz > cap && settings.clock > 1.0 && engine.preempted) {
            // What was seen, by the cap at which it was; the one run that stands for none, by the usual one.
            val seen = Pressure.throttled(state.capOf(index), cap, settings.clock)
            val usual = Pressure.throttled(state.capMhz, cap, settings.clock)
            mean = (ratios * seen + usual) / (weight + 1.0)
            upper = mean + learning.caution * deviation * seen
        }
        means[index] = mean
        uppers[index] = upper
        fresh[index] = Math.exp(-Math.max(0.0, timeS - window.timeS) / learning.excessS)
    }

    public companion object {
        /**
         * The probability of a miss that is taken now: twice the share that is allowed while none were missed, half of
         * it after too many, so that the share is kept in the long run.
         */
        @JvmStatic
        public fun tolerance(state: State, settings: Settings): Double {
            if (settings.misses <= 0.0) return 0.0
            val recent = state.late / (state.served + 1.0)
            return settings.misses * Math.min(2.0, Math.max(0.5, 2.0 - recent / settings.misses))
        }
    }
}
