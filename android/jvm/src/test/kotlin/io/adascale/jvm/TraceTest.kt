package io.adascale.jvm

import io.adascale.CascadeSession
import io.adascale.BadInput
import io.adascale.Session
import io.adascale.SessionOptions
import io.adascale.policies.Replay
import io.adascale.seams.Budget
import io.adascale.seams.Traces
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.lang.management.ManagementFactory

class TraceTest {
    @TempDir
    lateinit var folder: File

    private val image = FloatArray(24 * 24) { 0.1f + it / 1000f }
    private val options = SessionOptions().apply { signals = ProcSignals() }

    @Test
    fun `a trace is replayed with the same decisions`() {
        replayed("tiny", "full")
    }

    @Test
    fun `so is one in which a branch fails`() {
        replayed("poisoned", "half")
    }

    /** Records a trace while others take the cores away, with a budget that the [best] branch keeps, and replays it. */
    private fun replayed(name: String, best: String) {
        val bundle = Real.bundle(name)
        val idle = Session(bundle, Budget(latencyMs = 1000.0), Real.opener).use { it.table.find(best)!!.latencyMs }
        val budget = Budget(latencyMs = 2.0 * idle)
        // What Python replays is kept where a property says.
        val file = File(System.getProperty("adascale.traces") ?: folder.path, "$name.jsonl")
        var count = 0
        Session(bundle, budget, Real.opener, options).use { session ->
            session.record(file)
            for ((phase, burners) in listOf("idle" to 0, "loaded" to 4, "idle again" to 0)) {
                burning(burners) {
                    val ends = System.nanoTime() + 700_000_000L
                    while (System.nanoTime() < ends) {
                        session.predict(image, phase)
                        if (++count % 8 == 0) Thread.sleep(1)
                    }
                }
            }
            session.stopRecording()
            session.predict(image)
        }
        val trace = Traces.read(file)
        assertEquals(count, trace.events.size)
        val again = Replay.replay(bundle.digest, trace.header, trace.events, budget, "adaptive")
        for ((before, now) in trace.events.zip(again)) {
            assertEquals(before.copy(context = null), now.copy(context = null))
        }
        val served = trace.events.groupingBy { it.branch }.eachCount()
        println("$count events, $served, ${trace.events.count { it.switched }} switches: all replayed")
    }

    /** Runs a block while threads take the cores away. */
    private fun burning(threads: Int, block: () -> Unit) {
        val stop = java.util.concurrent.atomic.AtomicBoolean()
        val burners = List(threads) { Thread { while (!stop.get()) Math.sin(1.0) }.also { it.start() } }
        try {
            block()
        } finally {
            stop.set(true)
            burners.forEach { it.join() }
        }
    }

    @Test
    fun `a cascade asks again within the mean`() {
        val bundle = Real.bundle("tiny")
        val session = Session(bundle, Budget(latencyMs = 1000.0), Real.opener)
        val (half, full) = session.use { listOf("half", "full").map { id -> it.table.find(id)!!.latencyMs } }
        val budget = Budget(latencyMs = half + 0.5 * full)
        CascadeSession(bundle, budget, Real.opener, options).use { cascade ->
            assertTrue(cascade.pair.first.accuracy < cascade.pair.second.accuracy, "${cascade.pair}")
            var total = 0.0
            repeat(300) {
                cascade.predict(image)
                total += cascade.last!!.latencyMs
            }
            assertTrue(cascade.last!!.reason.startsWith(if (cascade.last!!.switched) "asked again" else "sure enough"))
            println("cascade: mean %.3f of %.3f ms".format(total / 300, budget.latencyMs))
        }
        assertThrows(BadInput::class.java) { CascadeSession(bundle, Budget(minAccuracy = 0.5), Real.opener) }
        val hot = Budget(latencyMs = 9.0, temperatureC = 60.0)
        assertThrows(BadInput::class.java) { CascadeSession(bundle, hot, Real.opener) }
    }

    @Test
    fun `the loop makes no garbage`() {
        val bundle = Real.bundle("digits")
        val threads = ManagementFactory.getThreadMXBean() as com.sun.management.ThreadMXBean
        val id = Thread.currentThread().id
        Session(bundle, Budget(latencyMs = 5.0), Real.opener, options).use { session ->
            val input = FloatArray(1024) { it / 1024f }
            val rounds = 1000
            val overheads = DoubleArray(rounds)
            var bytes = Double.MAX_VALUE
            var overheadUs = Double.MAX_VALUE
            repeat(6) {
                val before = threads.getThreadAllocatedBytes(id)
                for (round in 0 until rounds) {
                    val begun = System.nanoTime()
                    session.predict(input)
                    overheads[round] = 1e-3 * (System.nanoTime() - begun) - 1e3 * session.latencyMs
                }
                bytes = Math.min(bytes, (threads.getThreadAllocatedBytes(id) - before).toDouble() / rounds)
                overheads.sort()
                overheadUs = Math.min(overheadUs, overheads[rounds / 2])
            }
            println("overhead of a prediction: %.2f us, %.1f bytes".format(overheadUs, bytes))
            assertTrue(bytes <= 200.0, "$bytes bytes a prediction")
        }
    }
}
