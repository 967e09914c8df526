package io.adascale.policies

import com.sun.management.ThreadMXBean
import io.adascale.seams.Budget
import io.adascale.seams.Context
import java.lang.management.ManagementFactory
import java.util.Random

/**
 * How long a decision with what is learned from its inference takes, and what it allocates: 30 options on three engines
 * in steady state, under latencies that change. Prints one line for each budget.
 */
internal object DecisionSpeed {
    private const val WARM_UP = 200_000
    private const val TIMED = 200_000

    @JvmStatic
    fun main(args: Array<String>) {
        val engines = listOf("cpu" to 1, "cpu" to 4, "gpu" to 1)
        val table = Table(
            List(30) {
                val (delegate, threads) = engines[it % 3]
                Option("b$it", 0.5 + 0.015 * it, 0.2 + 0.3 * it, 1.0 + it, 2.0 + it, delegate, threads)
            },
        )
        measure("latency", table, Budget(latencyMs = 6.0))
        measure("all limits", table, Budget(6.0, 28.0, 30.0, 0.6, 5e4, 1.0, 60.0))
        measure("none fits", table, Budget(latencyMs = 0.1))
    }

    private fun measure(name: String, table: Table, budget: Budget) {
        val memory = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val me = Thread.currentThread().id
        val loop = Loop(table, budget)
        repeat(WARM_UP) { loop.next() }
        val before = memory.getThreadAllocatedBytes(me)
        repeat(TIMED) { loop.next() }
        val bytes = (memory.getThreadAllocatedBytes(me) - before).toDouble() / TIMED
        val spans = LongArray(TIMED)
        for (index in spans.indices) {
            val begun = System.nanoTime()
            loop.next()
            spans[index] = System.nanoTime() - begun
        }
        spans.sort()
        val median = spans[TIMED / 2] / 1e3
        val p99 = spans[TIMED * 99 / 100] / 1e3
        println("%-10s median %.2f us, p99 %.2f us, %.1f bytes, %d switches".format(name, median, p99, bytes, loop.switches))
    }

    /** What a session does at an inference but for the inference; the device wanders. */
    private class Loop(private val table: Table, private val budget: Budget) {
        private val state = State(table)
        private val settings = Settings()
        private val decision = Decision()
        private val verdicts = Verdicts()
        private val random = Random(1)
        private val policy = Policies.find("adaptive")
        private val contexts = List(16) {
            Context(0.0, it / 16.0, it / 4, 8, 2000.0, 900.0, 0.8, false, 50.0 + it, null, 2000.0 - 50 * (it % 4))
        }
        private var timeS = 0.0
        private var slow = 1.0
        private var count = 0
        var switches = 0

        fun next() {
            val context = contexts[count++ / 200 % contexts.size]
            policy.decide(context, timeS, budget, table, state, settings, decision)
            val option = decision.option
            slow = Math.min(3.0, Math.max(0.7, slow * (1.0 + 0.02 * random.nextGaussian())))
            var latencyMs = option.latencyMs * slow
            if (random.nextInt(50) == 0) latencyMs += 5.0
            timeS += 1e-3 * latencyMs
            if (state.branch != option.id) switches++
            state.settle(decision)
            state.observe(option, latencyMs, timeS, settings, Verdicts.late(budget, latencyMs), context)
            verdicts.judge(budget, option, latencyMs, context, timeS, state, settings)
        }
    }
}
