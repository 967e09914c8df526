// What options take when a session opens.
package io.adascale

import io.adascale.engines.Runner
import io.adascale.seams.Speed
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Times options in interleaved rounds, so that a device that drifts meanwhile slows all of them alike. */
internal object Probing {
    /** How long the latency of each option is measured, in ms. */
    private const val PROBE_MS = 30.0

    /** Rounds at most, and those that every option gets however slow it is. */
    private const val MOST = 200
    private const val LEAST = 5

    /** The median latency on zeros of each runner, in ms; one that fails has no entry. */
    fun probe(runners: Map<String, Runner>): Map<String, Double> {
        val inputs = runners.values.maxOfOrNull { it.inputSize } ?: 0
        val zeros = ByteBuffer.allocateDirect(4 * inputs).order(ByteOrder.nativeOrder()).asFloatBuffer()
        val output = FloatArray(runners.values.maxOfOrNull { it.outputSize } ?: 0)
        val spent = LinkedHashMap<String, ArrayList<Double>>()
        val totals = HashMap<String, Double>()
        for (key in runners.keys) spent[key] = ArrayList()
        for (round in 0 until MOST) {
            val left = spent.keys.filter { round < LEAST || (totals[it] ?: 0.0) <= PROBE_MS }
            if (left.isEmpty()) break
            for (key in left) {
                val begun = System.nanoTime()
                try {
                    checkNotNull(runners[key]).run(zeros, output)
                } catch (_: RuntimeException) {
                    spent.remove(key)
                    continue
                }
                val ms = 1e-6 * (System.nanoTime() - begun)
                spent[key]?.add(ms)
                totals[key] = (totals[key] ?: 0.0) + ms
            }
        }
        return spent.filterValues { it.isNotEmpty() }.mapValues { Speed.quantile(it.value, 0.5) }
    }
}
