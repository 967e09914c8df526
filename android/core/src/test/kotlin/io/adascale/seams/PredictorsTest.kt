package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Damage
import io.adascale.files.Disk
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

class PredictorsTest {
    private val kernels = mapOf(
        "conv-float" to mapOf("count" to 3.0, "macs_7x16" to 2e6, "tiles_7x16" to 4e3, "input_bytes" to 5e5),
        "reuse" to mapOf("1024" to 4e4, "2097152" to 2e5),
    )
    private val cost = Cost(1_000_000, 10_000, 40_000, 200_000, 10_000, 9, kernels)
    private val latency = Predictor(
        "latency_ms", "bench", "cpu", 1, "fitted",
        mapOf("one" to 0.01, "conv-float.macs_7x16" to 0.05, "miss_L2_mb" to 0.5),
        mapOf("macs_float_m" to listOf(0.5, 2.0), "conv-float.count" to listOf(1.0, 4.0)), 8, 0.04, listOf(0.9, 1.2),
        mapOf("L1i" to 32768L, "L2" to 1048576L), slowdown = mapOf("load" to 0.1, "waiting" to 1.0, "clock" to 0.8),
        strained = listOf(0.8, 1.5), reference = mapOf("cpu_freq_mhz" to 2000.0), anchors = mapOf("float" to 0.03),
        about = mapOf("serial" to "1A2B", "soc" to "SM8750"), support = listOf("gpu:classic", "gpu"),
    )
    private val file = Predictors(Predictors.FORMAT, listOf(latency), "2026-01-01T00:00:00Z", mapOf("adascale" to "1"))

    @Test
    fun `a file is read as it was written`(@TempDir folder: File) {
        val path = File(folder, "p.json")
        Disk.writeText(path, Predictors.text(file))
        assertEquals(file, Predictors.load(path))
        assertEquals(file, Predictors.choose(path, "1a2b", emptyMap()))
        val sentence = assertThrows(BadInput::class.java) { Predictors.choose(path, "x", emptyMap()) }.sentence
        assertTrue(sentence.startsWith("$path: The predictors are of 1 devices (bench), and 'x' names none"), sentence)
    }

    @Test
    fun `a prediction is a sum times the slowdown of the context`() {
        val idle = 0.01 + 0.05 * 2 + 0.5 * 0.2
        assertEquals(idle, latency.predict(cost, "float32"), 1e-12)
        // Others use three quarters of two cores, so half a core is left: an inference waits as long as it runs.
        val busy = Context(0.0, cpuLoad = 0.75, runnable = 9, cores = 2, cpuFreqMhz = 1000.0)
        assertEquals(idle * (1 + 0.1 * 0.75 + 1.0 + 0.8), latency.predict(cost, "float32", busy), 1e-12)
        assertEquals(idle / 0.5, latency.predict(cost, "float32", speed = 0.5), 1e-12)
        assertThrows(BadInput::class.java) { latency.predict(cost, "float32", speed = 0.0) }
        assertThrows(BadInput::class.java) { latency.predict(cost, "float8") }
        val (low, high) = requireNotNull(latency.interval(cost, "float32"))
        assertEquals(0.9 * idle, low, 1e-12)
        assertEquals(1.2 * idle, high, 1e-12)
        assertNull(latency.copy(spread = emptyList()).interval(cost, "float32"))
    }

    @Test
    fun `what was never measured is outside`() {
        assertEquals(emptyList<String>(), latency.outside(cost, "float32"))
        assertEquals(listOf("macs_float_m"), latency.outside(cost.copy(macs = 10_000_000), "float32"))
        assertEquals(listOf("macs_float_m", "macs_integer_m"), latency.outside(cost, "int8"))
    }

    @Test
    fun `partitions are those of the most exact entry`() {
        val told = listOf(Support("gpu", 9, 9, 2), Support("gpu:classic", 9, 9, 3))
        assertEquals(3.0, latency.partitions(told))
        assertEquals(2.0, latency.partitions(told.take(1)))
        assertNull(latency.partitions(emptyList()))
        assertEquals(1.0, latency.features(cost, "float32")[Features.PARTITIONS])
    }

    @Test
    fun `a device is chosen and a cell found`() {
        val other = latency.copy(device = "Pixel 8 xyz", about = mapOf("model" to "Pixel 8"))
        val both = file.copy(predictors = listOf(latency, other))
        assertEquals(listOf("bench"), both.here(mapOf("soc" to "sm8750")).devices)
        assertEquals(listOf("Pixel 8 xyz"), both.here(mapOf("model" to "pixel 8", "soc" to "SM8750")).devices)
        assertThrows(BadInput::class.java) { both.here(emptyMap()) }
        assertThrows(BadInput::class.java) { both.find("latency_ms", "cpu", 1) }
        assertNull(both.find("latency_ms", "gpu", 1))
        assertEquals(latency, both.of("bench").find("latency_ms", "cpu", 1))
    }

    @Test
    fun `anchors tell the speed`() {
        assertEquals(mapOf("float" to 0.5), Speed.speedOf(latency.anchors, Pace(0, floatMs = 0.06, memoryMs = 1.0)))
        assertEquals("integer", Speed.anchorOf("dynamic"))
        assertEquals(2.0, Speed.level(listOf(1.0, 2.0, 3.0, 100.0)), 1e-12)
        assertEquals(1.5, Speed.quantile(listOf(2.0, 1.0), 0.5), 1e-12)
    }

    @Test
    fun `damaged files are read or refused`() {
        Damage.survives(Predictors.text(file).toByteArray(), 1500) {
            val read = Predictors.parse(it, "w")
            read.predictors.forEach { one -> one.outside(cost, "float32") }
            assertEquals(read, Predictors.parse(Predictors.text(read).toByteArray(), "w"))
        }
    }
}
