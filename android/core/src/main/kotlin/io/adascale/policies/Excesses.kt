package io.adascale.policies

/**
 * Counted excesses: how many were at least so long, and over how much running. Updated in place; part of [Pressure].
 *
 * Lengths are told apart by doublings from [SHORTEST_MS] on: 2 us to 16 ms.
 */
public class Excesses {
    private val counted = DoubleArray(LENGTHS)

    /** The running time over which they were counted, in ms. */
    public var exposureMs: Double = 0.0
        private set

    /** How many were at least as long as the length of that number, from 0 to [LENGTHS] - 1. */
    public fun count(number: Int): Double = counted[number]

    /** A copy of all counts. */
    public fun counts(): DoubleArray = counted.copyOf()

    /** Takes other values. */
    public fun set(counts: DoubleArray, exposureMs: Double) {
        require(counts.size == LENGTHS) { "There are $LENGTHS lengths, not ${counts.size}." }
        System.arraycopy(counts, 0, counted, 0, LENGTHS)
        this.exposureMs = exposureMs
    }

    /** Takes the values of another one. */
    public fun set(other: Excesses) {
        set(other.counted, other.exposureMs)
    }

    /** Forgets all. */
    public fun clear() {
        counted.fill(0.0)
        exposureMs = 0.0
    }

    /** How many were longer than [slackMs]; between two lengths on the line over the logarithm. */
    public fun longer(slackMs: Double): Double {
        if (slackMs <= SHORTEST_MS) return counted[0]
        val place = Math.log(slackMs / SHORTEST_MS) / LN_2
        val below = place.toInt()
        if (below >= LENGTHS - 1) return counted[LENGTHS - 1] * Math.pow(2.0, LENGTHS - 1 - place)
        return counted[below] + (place - below) * (counted[below + 1] - counted[below])
    }

    /** Adds an excess of [excessMs], or none (0), and so much more running. */
    @JvmOverloads
    public fun add(excessMs: Double, exposureMs: Double = 0.0) {
        if (excessMs >= SHORTEST_MS) {
            // The exponent is the whole part of the logarithm.
            val reached = Math.min(LENGTHS, Math.getExponent(excessMs / SHORTEST_MS) + 1)
            for (number in 0 until reached) counted[number] += 1.0
        }
        this.exposureMs += exposureMs
    }

    /** Keeps a share of them. */
    public fun keep(share: Double) {
        for (number in 0 until LENGTHS) counted[number] = share * counted[number]
        exposureMs = share * exposureMs
    }

    public companion object {
        /** The shortest length that is told apart, in ms. */
        public const val SHORTEST_MS: Double = 0.002

        /** How many lengths are told apart, each twice the one before. */
        public const val LENGTHS: Int = 14
        private val LN_2 = Math.log(2.0)

        /** Excesses of these values. */
        @JvmStatic
        public fun of(counts: DoubleArray, exposureMs: Double): Excesses {
            val made = Excesses()
            made.set(counts, exposureMs)
            return made
        }
    }
}
