package io.adascale.policies

/** How fast an engine was lately, as decayed sums over its runs. Updated in place. */
public class Window {
    /** The decayed number of runs. */
    public var weight: Double = 0.0
        internal set

    /** The sum of their slowdowns. */
    public var ratios: Double = 0.0
        internal set

    /** How far these lay from their mean, as a sum. */
    public var apart: Double = 0.0
        internal set

    /** When this was true, in seconds. */
    public var timeS: Double = 0.0
        internal set

    /** The option that ran last, by its place in the session's table; -1 for none. */
    public var option: Int = -1
        internal set

    /** How much of the weight is of others than that option. */
    public var others: Double = 0.0
        internal set

    /** The slowdown of the run before the last. */
    public var before: Double = 0.0
        internal set

    /** The slowdown of the last run. */
    public var last: Double = 0.0
        internal set

    /** The upper bound that held for the last run. */
    public var upper: Double = 0.0
        internal set

    /** The last run's idle latency in ms while it is not known whether it met an excess; else 0. */
    public var openMs: Double = 0.0
        internal set

    /** The mean slowdown; pulled towards 1 by one run's weight, so that it is 1 before anything was seen. */
    public fun mean(): Double = (ratios + 1.0) / (weight + 1.0)

    /** The standard deviation of the slowdown between runs, from absolute differences, which outliers bend less. */
    public fun deviation(): Double = 1.25 * apart / (weight + 1.0)

    /** Forgets all. */
    public fun clear() {
        begin(0.0, 0.0, 0.0)
    }

    /**
     * Begins with a slowdown that something else than runs tells, which is worth [Pressure.TOLD] runs.
     *
     * @param slowdown how many times longer than usual things take, from 0.1 to 10.
     * @param toldS when that was so, in seconds.
     */
    public fun begin(slowdown: Double, toldS: Double) {
        begin(Pressure.TOLD, (Pressure.TOLD + 1.0) * slowdown - 1.0, toldS)
    }

    private fun begin(weight: Double, ratios: Double, timeS: Double) {
        this.weight = weight
        this.ratios = ratios
        this.timeS = timeS
        apart = 0.0
        option = -1
        others = 0.0
        before = 0.0
        last = 0.0
        upper = 0.0
        openMs = 0.0
    }

    /** What of the sums is left at a later time; a clock that jumps backwards only means no decay. */
    internal fun kept(nowS: Double, constantS: Double): Double = Math.exp(-Math.max(0.0, nowS - timeS) / constantS)

    internal fun decay(nowS: Double, constantS: Double) {
        val keep = kept(nowS, constantS)
        weight *= keep
        ratios *= keep
        apart *= keep
        others *= keep
        timeS = nowS
    }

    /** Becomes the window of the same runs, had each taken so many times longer. */
    internal fun slower(factor: Double) {
        ratios *= factor
        apart *= factor
        before *= factor
        last *= factor
        upper *= factor
    }
}

/** How an option differs from the others of its engine. Updated in place. */
public class Correction {
    /** The decayed number of its runs. */
    public var weight: Double = 0.0
        internal set

    /** The sum of their slowdowns over the shared one. */
    public var total: Double = 0.0
        internal set

    /** When this was true, in seconds. */
    public var timeS: Double = 0.0
        internal set

    /** Its latency over its idle latency, excesses included, as a mean over some ten runs. */
    public var recent: Double = 1.0
        internal set

    /** 1 before anything was seen. */
    public fun factor(): Double = (total + Pressure.OWN_TRUST) / (weight + Pressure.OWN_TRUST)

    /** The factor at a later time: a branch that did not run for long is thought to be as the others again. */
    public fun factorAt(nowS: Double, constantS: Double): Double {
        if (weight == 0.0) return factor()
        val keep = Math.exp(-Math.max(0.0, nowS - timeS) / constantS)
        return (total * keep + Pressure.OWN_TRUST) / (weight * keep + Pressure.OWN_TRUST)
    }

    /** Forgets all. */
    public fun clear() {
        weight = 0.0
        total = 0.0
        timeS = 0.0
        recent = 1.0
    }
}
