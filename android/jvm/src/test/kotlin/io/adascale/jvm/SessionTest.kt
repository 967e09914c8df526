package io.adascale.jvm

import io.adascale.AdaScaleError
import io.adascale.BadInput
import io.adascale.Session
import io.adascale.SessionOptions
import io.adascale.UnknownDelegate
import io.adascale.device.Signals
import io.adascale.engines.FileModel
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import io.adascale.seams.Context
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.nio.FloatBuffer

class SessionTest {
    @TempDir
    lateinit var folder: File

    private val roomy = Budget(latencyMs = 1000.0)
    private val image = FloatArray(24 * 24) { 0.1f + it / 1000f }

    private fun open(bundle: Bundle, budget: Budget = roomy, set: SessionOptions.() -> Unit = {}) =
        Session(bundle, budget, Real.opener, SessionOptions().apply(set))

    private fun alone(bundle: Bundle, id: String): FloatArray {
        val branch = bundle.manifest.branch(id)
        return Real.opener.open(FileModel(bundle.path(branch.file)), branch, "cpu", 1).use { runner ->
            FloatArray(runner.outputSize).also { runner.run(FloatBuffer.wrap(image), it) }
        }
    }

    /** A bundle with some of the branches only. */
    private fun Bundle.only(vararg ids: String): Bundle =
        copy(manifest = manifest.copy(branches = ids.map { manifest.branch(it) }))

    private fun latency(session: Session, id: String): Double = checkNotNull(session.table.find(id)).latencyMs

    @Test
    fun `the most accurate branch answers as it does alone`() {
        val bundle = Real.bundle("tiny")
        open(bundle).use { session ->
            assertNull(session.last)
            assertArrayEquals(alone(bundle, "full"), session.predict(image))
            val output = FloatArray(2)
            session.predict(FloatBuffer.wrap(image), output, "idle")
            assertArrayEquals(alone(bundle, "full"), output)
            val last = checkNotNull(session.last)
            assertEquals("full", last.branch)
            assertEquals("idle", last.phase)
            assertTrue(last.kept && last.latencyMs > 0.0 && last.endedS >= last.timeS)
            assertTrue(latency(session, "full") > latency(session, "half"))
            assertTrue(latency(session, "half") > latency(session, "tiny"))
        }
    }

    @Test
    fun `whichever branch answers, it answers the samples as the bundle expects`() {
        val bundle = Real.bundle("digits")
        val inputs = Real.floats(bundle.path(bundle.manifest.samples.file))
        val count = bundle.manifest.samples.count.toInt()
        val size = inputs.capacity() / count
        for (branch in bundle.manifest.branches) {
            val expected = Real.floats(bundle.path(branch.expected))
            open(bundle.only(branch.id)).use { session ->
                for (sample in 0 until count) {
                    val output = session.predict(FloatArray(size) { inputs.get(sample * size + it) })
                    for (index in output.indices) {
                        assertEquals(expected.get(sample * output.size + index), output[index], 1e-5f)
                    }
                }
            }
        }
    }

    @Test
    fun `a tight budget takes the branch that fits`() {
        val bundle = Real.bundle("tiny")
        val between = open(bundle).use { Math.sqrt(latency(it, "half") * latency(it, "full")) }
        open(bundle, Budget(latencyMs = between)).use { session ->
            val served = List(200) { session.predict(image); checkNotNull(session.last).branch }
            assertEquals("half", served.groupingBy { it }.eachCount().maxByOrNull { it.value }?.key)
        }
        open(bundle, Budget(minAccuracy = 0.85)).use { session ->
            session.predict(image)
            assertEquals("full", checkNotNull(session.last).branch)
        }
    }

    @Test
    fun `what cannot be is refused at the door`() {
        val bundle = Real.bundle("tiny")
        assertThrows(BadInput::class.java) { open(bundle, Budget(latencyMs = 1e-6)) }
        assertThrows(BadInput::class.java) { open(bundle, Budget(minAccuracy = 0.95)) }
        assertThrows(BadInput::class.java) { open(bundle, Budget(energyMj = 5.0)) }
        assertThrows(BadInput::class.java) { open(bundle, Budget(temperatureC = 60.0)) }
        assertThrows(BadInput::class.java) { open(bundle) { policy = "nonsense" } }
        assertThrows(BadInput::class.java) { open(bundle) { policy = "oracle" } }
        assertThrows(BadInput::class.java) { open(bundle) { threads = emptyList() } }
        assertThrows(UnknownDelegate::class.java) { open(bundle) { delegates = listOf("npu") } }
        open(bundle, Budget(latencyMs = 1000.0, temperatureC = 60.0)) { bestEffort = true }.use { session ->
            assertEquals(listOf("temperature_c"), session.ignored)
            assertEquals(1, session.warnings().size)
        }
    }

    @Test
    fun `inputs that are none are refused, and none is to blame`() {
        open(Real.bundle("tiny")).use { session ->
            assertThrows(BadInput::class.java) { session.predict(FloatArray(3)) }
            assertThrows(BadInput::class.java) { session.predict(image.copyOf().also { it[7] = Float.NaN }) }
            assertThrows(BadInput::class.java) { session.predict(FloatBuffer.wrap(image), FloatArray(1)) }
            session.predict(image)
            assertEquals(3, session.table.size)
        }
    }

    @Test
    fun `a branch that answers NaN is taken out, and the next best answers the same request`() {
        val bundle = Real.bundle("poisoned")
        open(bundle).use { session ->
            assertArrayEquals(alone(bundle, "half"), session.predict(image))
            val last = checkNotNull(session.last)
            assertEquals("half", last.branch)
            assertEquals(listOf("poisoned"), last.failed)
            assertFalse(last.switched)
            assertEquals(listOf("half", "tiny"), session.table.options.map { it.id })
            assertTrue("poisoned" in session.broken)
            session.predict(image)
            assertEquals(emptyList<String>(), checkNotNull(session.last).failed)
        }
        open(bundle.only("poisoned")).use { session ->
            repeat(2) { assertThrows(AdaScaleError::class.java) { session.predict(image) } }
        }
    }

    @Test
    fun `a branch that cannot be opened is left out`() {
        val bundle = Real.bundle("tiny")
        val branches = bundle.manifest.branches.map { if (it.id == "full") it.copy(signature = "absent") else it }
        val broken = bundle.copy(manifest = bundle.manifest.copy(branches = branches))
        open(broken).use { session ->
            session.predict(image)
            assertEquals("half", checkNotNull(session.last).branch)
            assertTrue("absent" in session.broken.getValue("full"), session.broken.toString())
        }
        assertThrows(AdaScaleError::class.java) { open(broken.only("full")) }
    }

    @Test
    fun `engines are options of their own`() {
        open(Real.bundle("tiny")) {
            delegates = listOf("cpu", "builtin")
            threads = listOf(1, 2)
        }.use { session ->
            assertEquals(12, session.table.size)
            assertTrue(session.table.find("tiny@builtinx2") != null)
            session.predict(image)
        }
    }

    @Test
    fun `a limit of memory gives options up, and what is wanted is prepared aside`() {
        val bundle = Real.bundle("tiny")
        open(bundle) { warmMb = 0.003 }.use { session ->
            assertTrue(session.heldMb <= 0.003, "${session.heldMb} MB")
            session.predict(image)
            val deadline = System.nanoTime() + 5_000_000_000L
            while (checkNotNull(session.last).branch != "full" && System.nanoTime() < deadline) {
                assertTrue(checkNotNull(session.last).absent.isNotEmpty())
                session.predict(image)
            }
            assertEquals("full", checkNotNull(session.last).branch)
            assertTrue(session.heldMb <= 0.003, "${session.heldMb} MB")
        }
    }

    @Test
    fun `where the device has no memory left, only the safe branch and what serves stay`() {
        val memory = Told(1000.0)
        open(Real.bundle("tiny")) { signals = memory }.use { session ->
            session.predict(image)
            val before = session.heldMb
            memory.freeMb = 40.0
            waitFor { session.predict(image); session.heldMb < before }
            assertEquals("full", checkNotNull(session.last).branch)
            memory.freeMb = 1000.0
        }
        memory.freeMb = 10.0
        open(Real.bundle("tiny")) { signals = memory }.use { session ->
            assertEquals(1, session.table.size)
            assertEquals(2, session.broken.size)
            for (why in session.broken.values) assertTrue("reserve" in why, why)
            session.predict(image)
        }
    }

    @Test
    fun `habits are kept for the next session`() {
        val bundle = Real.bundle("tiny")
        val file = File(folder, "habits.json")
        open(bundle) { habits = file }.use { session -> repeat(50) { session.predict(image) } }
        val kept = file.readText()
        assertTrue("cpu x 1 @ 5" in kept, kept)
        open(bundle) { habits = file }.use { assertTrue("cpu x 1 @ 5" in it.header().habits) }
        file.writeText("{ damaged")
        open(bundle) { habits = file }.use { assertTrue(it.header().habits.isEmpty()) }
    }

    @Test
    fun `a closed session answers no more, and threads share an open one`() {
        val bundle = Real.bundle("tiny")
        val session = open(bundle) { signals = ProcSignals() }
        val wrong = java.util.Collections.synchronizedList(ArrayList<Throwable>())
        val expected = alone(bundle, "full")
        val threads = List(4) {
            Thread {
                val output = FloatArray(2)
                try {
                    repeat(200) {
                        session.predict(FloatBuffer.wrap(image), output)
                        assertArrayEquals(expected, output)
                    }
                } catch (error: Throwable) {
                    wrong.add(error)
                }
            }.also { it.start() }
        }
        threads.forEach { it.join() }
        assertEquals(emptyList<Throwable>(), wrong)
        session.close()
        session.close()
        assertThrows(AdaScaleError::class.java) { session.predict(image) }
        assertEquals("full", checkNotNull(session.last).branch)
    }

    private fun waitFor(done: () -> Boolean) {
        val deadline = System.nanoTime() + 5_000_000_000L
        while (!done()) assertTrue(System.nanoTime() < deadline, "it did not happen within 5 s")
    }

    /** A device whose memory a test says. */
    private class Told(@Volatile var freeMb: Double) : Signals {
        override fun sample(timeS: Double) = Context(timeS, memoryFreeMb = freeMb)

        override fun memoryFreeMb(): Double = freeMb
    }
}
