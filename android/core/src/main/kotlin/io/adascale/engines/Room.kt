// Whether a branch fits into the memory that a device has left; pure.
package io.adascale.engines

/** The rules of memory. Amounts in MB; NaN for what is not known, which limits nothing. */
internal object Rules {
    /** Whether so much more leaves the reserve; what needs nothing fits always. */
    fun fits(sizeMb: Double, freeMb: Double, reserveMb: Double): Boolean =
        freeMb.isNaN() || sizeMb <= Math.max(0.0, freeMb - reserveMb)

    /**
     * The runners that have to go for so much memory, the least recently used first; one of them stays.
     *
     * @param held what is loaded, the least recently used first.
     * @param sizesMb what each holds.
     * @param missingMb what has to be freed.
     * @param kept what has to stay.
     */
    fun givingWay(
        held: List<String>, sizesMb: Map<String, Double>, missingMb: Double, kept: Set<String?>,
    ): List<String> {
        val given = ArrayList<String>()
        var missing = missingMb
        for (key in held) {
            if (missing <= 0.0 || given.size == held.size - 1) break
            if (key in kept) continue
            given.add(key)
            missing -= sizesMb[key] ?: 0.0
        }
        return given
    }

    /**
     * Whether even what serves has to be left: less than half of the reserve is free, and it holds enough of what is
     * missing that leaving it helps.
     *
     * @param sizeMb what it holds.
     * @param freeMb what is free after all others were given up.
     * @param reserveMb what should be free.
     */
    fun inNeed(sizeMb: Double, freeMb: Double, reserveMb: Double): Boolean =
        !freeMb.isNaN() && 2.0 * freeMb < reserveMb && 4.0 * sizeMb >= reserveMb - freeMb
}

/** The memory that may be taken. */
internal class Room(
    /** What is left to the device, in MB. */
    val reserveMb: Double,
    private val free: () -> Double,
) {
    /** What is free just now, in MB; NaN where nobody knows, so that all fits. */
    fun freeMb(): Double = free()

    /** Whether so much more fits just now. */
    fun holds(sizeMb: Double): Boolean = Rules.fits(sizeMb, free(), reserveMb)
}
