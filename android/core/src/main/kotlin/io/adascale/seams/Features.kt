// What predictors look at: the features of a branch, and what of a context slows it down.
package io.adascale.seams

import io.adascale.BadInput

/** Features of branches and strains of contexts, see [Predictor]. */
public object Features {
    /** The feature of branches that a delegate takes in several pieces: each costs copies to the delegate and back. */
    public const val PARTITIONS: String = "partitions"

    /** The share of all cores that is left to a branch at least, however many others want them. */
    private const val LEAST = 0.02

    /** What others take of an idle device counts as usual up to this share of its cores. */
    private const val ALWAYS = 0.5
    private val ONES = setOf("count", "operators")
    private val THOUSANDS = listOf("rows", "tiles", "fetches")

    /**
     * The named, non-negative features of a branch.
     *
     * MACs in millions by kind of arithmetic, and 1 for the kind it is; bytes moved in MB, ops; `kinds`, the classes of
     * kernels, each of which is code that a process maps. `CLASS.SUM` for every sum of `cost.kernels`: counts as they
     * are, rows, tiles and fetches in thousands, MACs in millions, bytes in MB.
     *
     * @param precision The branch's precision in its manifest.
     * @param caches Sizes in bytes by name; they give `hit_mb`, MB that the last of them serves, and `miss_L2_mb`, MB
     *   that it does not.
     * @param partitions In how many pieces a delegate takes the branch; null leaves the feature out.
     * @throws BadInput Nothing tells the precision's arithmetic.
     */
    @JvmStatic
    @JvmOverloads
    public fun of(
        cost: Cost,
        precision: String,
        caches: Map<String, Long> = emptyMap(),
        partitions: Double? = null,
    ): Map<String, Double> {
        val values = linkedMapOf("one" to 1.0)
        for (kind in Precisions.ARITHMETICS) values["macs_${kind}_m"] = 0.0
        val own = Precisions.arithmetic(precision, cost.arithmetic)
        values["macs_${own}_m"] = cost.macs / 1e6
        values["one_$own"] = 1.0
        values["weights_mb"] = cost.weightBytes / 1e6
        values["activations_mb"] = cost.activationBytes / 1e6
        values["peak_mb"] = cost.peakBytes / 1e6
        values["ops"] = cost.ops.toDouble()
        values["kinds"] = cost.kernels.keys.count { '-' in it }.toDouble()
        for ((name, sums) in cost.kernels) {
            if (name == REUSE) continue
            for ((key, value) in sums) values["$name.$key"] = value / unit(key)
        }
        for ((level, size) in caches) {
            // Instructions have a cache of their own.
            if (!level.endsWith("i")) values["miss_${level}_mb"] = missedBytes(cost, size.toDouble()) / 1e6
        }
        val outermost = caches.values.maxOrNull()
        if (outermost != null) {
            values["hit_mb"] = (movedBytes(cost) - missedBytes(cost, outermost.toDouble())) / 1e6
        }
        if (partitions != null) values[PARTITIONS] = partitions
        return values
    }

    private fun unit(key: String): Double = when {
        key in ONES -> 1.0
        THOUSANDS.any { key.startsWith(it) } -> 1e3
        else -> 1e6
    }

    /** M, the memory accesses of one inference: bytes of inputs, weights and outputs of every operator, each once. */
    @JvmStatic
    public fun movedBytes(cost: Cost): Double {
        val counted = cost.kernels[REUSE].orEmpty().values.sum()
        return if (counted != 0.0) counted else cost.weightBytes.toDouble() + cost.activationBytes
    }

    /**
     * Bytes of M that a cache of that size does not hold any more when they are touched again: (1 - eps) * M.
     *
     * From the distances of reuse in `cost.kernels["reuse"]` (bytes by upper bound of distance, a power of two), taken
     * as evenly spread below their bound. Without them: weights are read once an inference, and activations soon after
     * they were written, so a network that does not fit misses its weights, and of its activations what alone exceeds
     * the cache.
     */
    @JvmStatic
    public fun missedBytes(cost: Cost, cacheBytes: Double): Double {
        val distances = cost.kernels[REUSE].orEmpty()
        if (distances.isNotEmpty()) {
            var missed = 0.0
            for ((bound, size) in distances) {
                missed += size * Math.min(1.0, Math.max(0.0, 2.0 - 2.0 * cacheBytes / bound.toDouble()))
            }
            return missed
        }
        val fits = cost.weightBytes.toDouble() + cost.peakBytes <= cacheBytes
        val weights = if (fits) 0.0 else cost.weightBytes.toDouble()
        if (cost.peakBytes <= cacheBytes) return weights
        return weights + cost.activationBytes * (1.0 - cacheBytes / cost.peakBytes)
    }

    /** eps, the share of M in [0, 1] that a cache of that size serves. */
    @JvmStatic
    public fun hitRate(cost: Cost, cacheBytes: Double): Double {
        val moved = movedBytes(cost)
        return if (moved != 0.0) 1.0 - missedBytes(cost, cacheBytes) / moved else 1.0
    }

    /**
     * What of a context slows an inference down, each at least 0, and 0 where the device does not report it.
     *
     * `load`: share of all cores that others use, of those that an idle device has left. `waiting`: how much longer
     * than it runs an inference waits for a core. `clock`: how many times the `cpu_freq_mhz` of [reference] exceeds the
     * clock now, less 1. `memory`: share of the reference's `memory_free_mb` that is taken.
     *
     * @param threads How many cores the branch needs.
     * @param reference The idle device.
     */
    @JvmStatic
    public fun strain(context: Context, threads: Int, reference: Map<String, Double>): Map<String, Double> {
        val always = Math.min(ALWAYS, Math.max(0.0, reference["cpu_load"] ?: 0.0))
        val load = Math.max(0.0, ((context.cpuLoad ?: 0.0) - always) / (1.0 - always))
        val strains = linkedMapOf("load" to load, "waiting" to 0.0, "clock" to 0.0, "memory" to 0.0)
        val cores = context.cores ?: 0
        if (cores != 0 && context.cpuLoad != null) {
            // Cores that are taken are shared so that no time is lost: what others do not use is what a branch gets.
            val left = cores * Math.max(1.0 - load, LEAST)
            strains["waiting"] = Math.max(0.0, threads / left - 1.0)
        } else if (cores != 0 && context.runnable != null) {
            val wanted = context.runnable.toDouble() + threads
            strains["waiting"] = Math.max(0.0, wanted / cores - 1.0)
        }
        val clock = context.cpuFreqMhz ?: 0.0
        val usualClock = reference["cpu_freq_mhz"] ?: 0.0
        if (clock != 0.0 && usualClock != 0.0) strains["clock"] = Math.max(0.0, usualClock / clock - 1.0)
        val usualFree = reference["memory_free_mb"] ?: 0.0
        if (context.memoryFreeMb != null && usualFree != 0.0) {
            strains["memory"] = Math.max(0.0, 1.0 - context.memoryFreeMb / usualFree)
        }
        return strains
    }

    private const val REUSE = "reuse"
}
