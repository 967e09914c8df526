package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Damage
import io.adascale.files.Unwritable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

class TracesTest {
    @TempDir
    lateinit var folder: File

    private val header = Header(
        Traces.FORMAT, "0123456789ab", mapOf("latency_ms" to 5.0), "cpu+gpu", 4, "2026-01-01T00:00:00Z",
        mapOf("full" to mapOf("id" to "full", "accuracy" to 0.9)), mapOf("misses" to 0.05),
    )
    private val plain = Event(0.5, 0.75, "full", "it's \u201ccalm\u201d", false, 0.01, 0.02, 4.0, 3.5, 1.25, true)
    private val rich = plain.copy(
        correct = false, failed = listOf("a"), phase = "idle", absent = listOf("b"), broken = mapOf("latency_ms" to 0.5),
        context = Context(1.0, 0.5, 3, 8, 2000.0, 500.0, 0.5, true, 40.0, mapOf("battery" to "none"), 2400.0),
        audit = Audit(300.0, mapOf("cpu x 4" to 1.5)),
    )

    private fun written(): File {
        val file = File(folder, "t.jsonl")
        TraceWriter(file, header).use { writer ->
            writer.write(plain)
            writer.write(rich)
            writer.write(plain.withCorrect(true))
        }
        return file
    }

    @Test
    fun `a trace is read as it was written`() {
        assertEquals(Trace(header, listOf(plain, rich, plain.copy(correct = true))), Traces.read(written()))
    }

    @Test
    fun `a line that a kill cut off is left out`() {
        val file = written()
        file.writeBytes(file.readBytes().dropLast(1).toByteArray())
        assertEquals(listOf(plain, rich), Traces.read(file).events)
    }

    @Test
    fun `what cannot be is refused with its place`() {
        val file = File(folder, "t.jsonl")
        fun refusal(vararg events: Event): String {
            file.writeText(Traces.line(header) + events.joinToString("") { Traces.line(it) })
            return assertThrows(BadInput::class.java) { Traces.read(file) }.sentence
        }
        assertTrue("line 3.base_ms is 0, but" in refusal(plain, plain.copy(baseMs = 0.0)))
        assertTrue("line 2.context.cores is 0, but" in refusal(plain.copy(context = Context(0.0, cores = 0))))
        assertTrue("line 2.audit.energies is -1" in refusal(plain.copy(audit = Audit(energies = mapOf("x" to -1.0)))))
        assertTrue("line 2.latency_ms should be a number" in refusal(plain.copy(latencyMs = Double.NaN)))
        file.writeText("{}\n")
        assertTrue("is not a trace" in assertThrows(BadInput::class.java) { Traces.read(file) }.sentence)
        assertThrows(Unwritable::class.java) { TraceWriter(File(file, "below"), header) }
    }

    @Test
    fun `damaged traces are read or refused`() {
        val file = written()
        Damage.survives(file.readBytes(), 1500) {
            file.writeBytes(it)
            Traces.read(file)
        }
    }
}
