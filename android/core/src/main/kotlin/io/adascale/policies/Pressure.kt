package io.adascale.policies

import io.adascale.seams.Context

/** How fast what was seen is learned and forgotten. */
public data class Learning @JvmOverloads constructor(
    /** The time constant of the slowdown, in seconds. */
    public val windowS: Double = 0.5,
    /** The time constant of excesses, in seconds. */
    public val excessS: Double = 4.0,
    /** The time constant of each branch's own correction, in seconds. */
    public val memoryS: Double = 10.0,
    /** The running time, in ms, after which excesses are forgotten, too: who runs all the time knows sooner. */
    public val excessMs: Double = 200.0,
    /** A run counts towards the slowdown with at most so many times what was expected. */
    public val stall: Double = 1.6,
    /**
     * What takes longer than so many times what was expected is an excess at once; other runs are if those before and
     * after them are not as long.
     */
    public val surely: Double = 2.5,
    /** The running time, in ms, that the habits are worth beside the window. */
    public val trustMs: Double = 4.0,
    /** The running time, in ms, that habits remember. */
    public val habitMs: Double = 1000.0,
    /** Standard deviations that are added to estimates to get upper bounds. */
    public val caution: Double = 1.0,
)

/**
 * A model of inferences on a busy, wandering device: a slowdown of all, and excesses that hit long runs more often.
 *
 * The latency of a run is L * s + excess. L is its idle latency. s, the slowdown, comes from frequencies, heat and
 * shared caches, moves slowly and is shared by all branches of an engine. An excess is what a run is longer than that.
 * Excesses come at a rate per millisecond of running, so a run of L ms meets one that is longer than its slack x with
 * probability 1 - exp(-rate(x) * L * s). So what is seen on one branch predicts all others.
 *
 * Rates are counted, by length, over a decaying window, which is joined by the device's *habits*: the same counts over
 * minutes, apart for each level of crowding, which a session keeps and the next one begins with.
 */
public object Pressure {
    /** Runs that a branch's correction of 1 is worth before any: the first after a switch are slow, and say little. */
    public const val OWN_TRUST: Double = 10.0

    /** Runs that a slowdown is worth that was told before any. */
    public const val TOLD: Double = 3.0

    /** The least slowdown that can be told. */
    public const val LEAST_SLOWDOWN: Double = 0.1

    /** The greatest slowdown that can be told. */
    public const val MOST_SLOWDOWN: Double = 10.0

    /** Levels of crowding, by how many threads too many want each core: none, up to 0.5, 1, 2, more; and not known. */
    private val LEVELS = doubleArrayOf(0.0, 0.5, 1.0, 2.0)

    /** The level of crowding that is not known. */
    public const val UNKNOWN: Int = 5

    private val SLICES = doubleArrayOf(0.001, 0.1, 0.2, 0.3, 0.3, 0.01)

    /**
     * How many times longer things take since the cap of the clock was lowered, in [1, most]; 1 if it was not.
     *
     * @param thenMhz the cap before, in MHz; NaN or 0 where it is not known.
     * @param nowMhz the cap now.
     * @param most the highest factor: what waits for memory does not slow down like the clock.
     */
    @JvmStatic
    public fun throttled(thenMhz: Double, nowMhz: Double, most: Double): Double {
        if (thenMhz.isNaN() || thenMhz == 0.0 || nowMhz >= thenMhz) return 1.0
        return if (thenMhz >= most * nowMhz) most else thenMhz / nowMhz
    }

    /** How many cores others want; NaN where that is not known. */
    @JvmStatic
    public fun crowd(context: Context): Double {
        val runnable = context.runnable
        if (runnable != null) return runnable.toDouble()
        val load = context.cpuLoad
        val cores = context.cores
        return if (load != null && cores != null && cores != 0) load * cores else Double.NaN
    }

    /**
     * The level of crowding, from 0 to 4, or [UNKNOWN].
     *
     * @param context what the device has left; null if nothing is known.
     * @param engine what executes the branch; accelerators are not taken away by processes.
     * @param more how many cores others are going to want besides.
     */
    @JvmStatic
    @JvmOverloads
    public fun crowding(context: Context?, engine: Engine, more: Double = 0.0): Int {
        if (!engine.preempted) return 0
        val cores = context?.cores ?: 0
        if (context == null || cores == 0) return UNKNOWN
        val runnable = context.runnable
        val load = context.cpuLoad
        var wanted = when {
            runnable != null -> (runnable + engine.threads - cores).toDouble() / cores
            load != null -> (load - (1 - engine.threads.toDouble() / cores)) * cores
            else -> return UNKNOWN
        }
        if (more != 0.0) wanted += more / cores
        for (level in LEVELS.indices) if (wanted <= LEVELS[level]) return level
        return LEVELS.size
    }

    /**
     * Excesses per millisecond of running that are longer than [slackMs], on a device that nothing is known of.
     *
     * Interrupts of about a tenth of a millisecond, and time slices of about six once cores are shared. It is worth
     * [Learning.trustMs] of running, so it matters in a session's first second.
     */
    @JvmStatic
    public fun presumed(level: Int, slackMs: Double): Double =
        0.02 * Math.exp(-slackMs / 0.1) + SLICES[level] * Math.exp(-slackMs / 6.0)

    /**
     * An upper bound of the excesses per millisecond of running that are longer than [slackMs].
     *
     * What was seen lately, and [Learning.trustMs] of running like the device's habits at that level, which themselves
     * begin with as much of what is presumed.
     *
     * @param fresh the share of the window that still counts.
     */
    @JvmStatic
    public fun rate(
        window: Excesses, habit: Excesses, level: Int, slackMs: Double, learning: Learning, fresh: Double,
    ): Double {
        val trustMs = learning.trustMs
        val usual = (habit.longer(slackMs) + trustMs * presumed(level, slackMs)) / (habit.exposureMs + trustMs)
        val lately = fresh * window.longer(slackMs)
        val cautious = lately + learning.caution * Math.sqrt(lately)
        return (cautious + trustMs * usual) / (fresh * window.exposureMs + trustMs)
    }

    /**
     * Takes a run in.
     *
     * A run that is longer than expected met an excess if it stands alone. If the runs before and after it are as long,
     * the device has become slower, which the slowdown will tell: the middle one of three runs is taken for its speed.
     *
     * @param window what is known of the engine.
     * @param excesses the engine's excesses lately.
     * @param habit its habits at this level of crowding.
     * @param correction what is known of the option.
     * @param option the option's place in the session's table.
     * @param latencyMs what the run took, in ms.
     * @param idleMs what it takes at rest, in ms.
     * @param timeS when it ended, in seconds.
     * @param learning how fast to learn.
     */
    internal fun seen(
        window: Window, excesses: Excesses, habit: Excesses, correction: Correction, option: Int,
        latencyMs: Double, idleMs: Double, timeS: Double, learning: Learning,
    ) {
        val stepS = Math.max(0.0, timeS - window.timeS)
        window.decay(timeS, learning.windowS)
        val shared = window.mean()
        val own = correction.factor()
        val ratio = latencyMs / idleMs
        val expected = shared * own
        val upper = shared + learning.caution * window.deviation()
        val ownMs = idleMs * own
        val exposureMs = Math.min(latencyMs, ownMs * upper)

        val ownRatio = latencyMs / ownMs
        var settledMs = 0.0
        var sureMs = 0.0
        var openMs = 0.0
        if (window.openMs != 0.0) {
            val speed = middle(window.before, window.last, ownRatio)
            settledMs = window.openMs * Math.max(0.0, window.last - Math.max(window.upper, speed))
        }
        if (ownRatio > upper) {
            if (ownRatio > learning.surely * upper) sureMs = latencyMs - ownMs * upper else openMs = ownMs
        }

        excesses.keep(Math.exp(-stepS / learning.excessS - exposureMs / learning.excessMs))
        excesses.add(settledMs, exposureMs)
        excesses.add(sureMs)
        habit.add(settledMs, exposureMs)
        habit.add(sureMs)
        if (habit.exposureMs > learning.habitMs) habit.keep(learning.habitMs / habit.exposureMs)

        val slow = ratio > learning.stall * expected
        // A lasting slowdown is no stall: let it in, bounded, so that the estimate can follow within some runs.
        val common = Math.min(ratio, learning.stall * expected) / own
        // What was told before any run is no option.
        val others = if (window.option == option || window.option < 0) window.others else window.weight
        val tells = others / (window.weight + 1.0)
        window.weight += 1.0
        window.ratios += common
        window.apart += Math.abs(common - shared)
        window.option = option
        window.others = others
        window.before = window.last
        window.last = ownRatio
        window.upper = upper
        window.openMs = openMs

        correction.recent += 0.1 * (ratio - correction.recent)
        if (slow) return
        // How it differs from others is told only while these are in the window: a branch alone is the window.
        val apart = Math.min(2.0, Math.max(0.5, ratio / shared))
        val keep = Math.exp(-Math.max(0.0, timeS - correction.timeS) / learning.memoryS)
        correction.weight = keep * correction.weight + tells
        correction.total = keep * correction.total + tells * apart
        correction.timeS = timeS
    }

    private fun middle(a: Double, b: Double, c: Double): Double =
        Math.max(Math.min(a, b), Math.min(Math.max(a, b), c))
}
