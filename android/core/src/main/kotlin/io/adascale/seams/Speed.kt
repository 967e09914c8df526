// How fast a device is just now, told by its anchors, and levels of a few runs.
package io.adascale.seams

/** Speeds of devices. */
public object Speed {
    /**
     * A run that takes more than so many times the median of its chunk waited for a time slice of another process,
     * which is not what a device's speed is about.
     */
    public const val STALLED: Double = 4.0

    /**
     * The anchor (one of [Pace.KINDS]) of a branch's arithmetic. Int8 weights are multiplied as integers, whatever the
     * activations are. Anchors stand for the speed of CPU cores, so ask only for delegates of the CPU.
     *
     * @param precision The branch's precision.
     * @param told Its `cost.arithmetic`.
     * @throws io.adascale.BadInput Neither tells the arithmetic.
     */
    @JvmStatic
    @JvmOverloads
    public fun anchorOf(precision: String, told: String = ""): String =
        if (Precisions.arithmetic(precision, told) == "float") "float" else "integer"

    /**
     * How fast a device is now, by kind of anchor: 1.0 is its usual speed, 0.8 means everything takes 1/0.8 as long.
     *
     * @param usual What each anchor usually takes there, in ms by kind, as predictors hold it.
     * @param pace What the anchors take now; kinds that either does not know are left out.
     */
    @JvmStatic
    public fun speedOf(usual: Map<String, Double>, pace: Pace): Map<String, Double> {
        val speeds = LinkedHashMap<String, Double>()
        for (kind in Pace.KINDS) {
            val usually = usual[kind] ?: continue
            val ms = pace.of(kind) ?: continue
            speeds[kind] = usually / ms
        }
        return speeds
    }

    /** The mean of runs in ms, without those that stalled ([STALLED]); NaN for none. */
    @JvmStatic
    public fun level(runs: List<Double>): Double {
        val most = STALLED * quantile(runs, 0.5)
        return runs.filter { it <= most }.average()
    }

    /** The [q] quantile (0..1) by linear interpolation between order statistics; NaN for no values. */
    @JvmStatic
    public fun quantile(values: List<Double>, q: Double): Double {
        if (values.isEmpty()) return Double.NaN
        val ordered = values.sorted()
        val position = q * (ordered.size - 1)
        val low = position.toInt()
        val high = Math.min(low + 1, ordered.size - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
    }
}
