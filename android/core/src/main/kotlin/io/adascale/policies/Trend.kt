package io.adascale.policies

/**
 * Where load or heat is going: a value and its slope, smoothed, and how much it will have risen some seconds on.
 *
 * Load and temperature are told of the moment before. A device that is warming up, or on which one process after the
 * other starts, will be worse off when the next inferences run. Updated in place.
 *
 * Source: Holt, "Forecasting seasonals and trends by exponentially weighted moving averages", 1957 (reprinted 2004), in
 * the form for samples at uneven times.
 */
public class Trend {
    /** The smoothed value; NaN before the first sample. */
    public var value: Double = Double.NaN
        private set

    /** What the value changes by in a second. */
    public var slope: Double = 0.0
        private set

    /** When this was true, in seconds. */
    public var timeS: Double = 0.0
        private set

    /** Forgets every sample. */
    public fun clear() {
        begin(Double.NaN, 0.0)
    }

    /**
     * Takes a sample in.
     *
     * @param sample the sample.
     * @param nowS when it was taken, in seconds; a clock that jumps backwards begins anew.
     * @param constantS the time constant of the value, in seconds; that of the slope is twice as long.
     */
    public fun follow(sample: Double, nowS: Double, constantS: Double) {
        if (value.isNaN() || nowS < timeS) {
            begin(sample, nowS)
            return
        }
        val stepS = nowS - timeS
        val expected = value + slope * stepS
        val apart = sample - expected
        value = expected + (1.0 - Math.exp(-stepS / constantS)) * apart
        slope += (1.0 - Math.exp(-stepS / (2.0 * constantS))) * apart / constantS
        timeS = nowS
    }

    /** By how much the signal will have risen [aheadS] seconds on; 0 where it falls, which is not relied on. */
    public fun rise(aheadS: Double): Double = Math.max(0.0, slope) * aheadS

    private fun begin(sample: Double, nowS: Double) {
        value = sample
        slope = 0.0
        timeS = nowS
    }

    public companion object {
        /** The time constant of the load, in seconds. */
        public const val LOAD_S: Double = 0.5

        /** The time constant of the temperature, in seconds, which is read every two seconds. */
        public const val HEAT_S: Double = 4.0
    }
}
