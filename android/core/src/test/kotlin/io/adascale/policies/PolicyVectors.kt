package io.adascale.policies

import io.adascale.files.Json
import io.adascale.seams.Budget
import io.adascale.seams.Context
import java.io.File
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue

/** Lines that `python -m tests.vectors.decisions` wrote into the folder of the property `adascale.vectors`. */
internal object PolicyVectors {
    /** The objects of all files whose names begin so; the test is skipped where there are none. */
    fun lines(prefix: String): Sequence<Map<String, Any?>> {
        val folder = System.getProperty("adascale.vectors").orEmpty()
        val files = File(folder, "decisions").listFiles().orEmpty().filter { it.name.startsWith(prefix) }.sorted()
        if (folder.isEmpty() || files.isEmpty()) {
            val why = "No vectors: python -m tests.vectors.decisions FOLDER, then -Dadascale.vectors=FOLDER"
            println("Skipped: $why")
            assumeTrue(false, why)
        }
        return files.asSequence().flatMap { file ->
            file.readLines().asSequence().map { Json.parse(it, file.name).obj() }
        }
    }
}

@Suppress("UNCHECKED_CAST")
internal fun Any?.obj(): Map<String, Any?> = this as Map<String, Any?>

internal fun Any?.list(): List<Any?> = this as List<Any?>

internal fun Any?.strings(): List<String> = list().map { it as String }

/** A number; NaN for null. */
internal fun Any?.number(): Double = (this as Number?)?.toDouble() ?: Double.NaN

internal fun Any?.numberOrNull(): Double? = (this as Number?)?.toDouble()

internal fun Any?.numbers(): DoubleArray = list().map { it.number() }.toDoubleArray()

internal fun Map<String, Any?>.num(name: String): Double = getValue(name).number()

internal fun option(data: Any?): Option = with(data.obj()) {
    Option(
        get("id") as String, num("accuracy"), num("latency_ms"), get("energy_mj").numberOrNull(),
        get("memory_mb").numberOrNull(), get("delegate") as String, (get("threads") as Number).toInt(),
    )
}

internal fun table(data: Any?): Table = Table(data.list().map { option(it) })

internal fun budget(data: Any?): Budget {
    val limits = data.obj()
    val values = Budget.NAMES.map { limits[it].numberOrNull() }
    return Budget(values[0], values[1], values[2], values[3], values[4], values[5], values[6])
}

internal fun context(data: Any?): Context? = data?.obj()?.run {
    Context(
        num("time_s"), get("cpu_load").numberOrNull(), (get("runnable") as Number?)?.toInt(),
        (get("cores") as Number?)?.toInt(), get("cpu_freq_mhz").numberOrNull(), get("memory_free_mb").numberOrNull(),
        get("battery").numberOrNull(), get("charging") as Boolean?, get("temperature_c").numberOrNull(), null,
        get("clock_cap_mhz").numberOrNull(),
    )
}

internal fun settings(data: Any?): Settings = with(data.obj()) {
    val learning = getValue("learning").obj().run {
        Learning(
            num("window_s"), num("excess_s"), num("memory_s"), num("excess_ms"), num("stall"), num("surely"),
            num("trust_ms"), num("habit_ms"), num("caution"),
        )
    }
    Settings(
        num("misses"), num("patience_s"), num("headroom"), num("dwell_s"), num("battery_wh"), num("reserve_mb"),
        num("clock"), num("forecast_s"), learning,
    )
}

/** Holds numbers against each other: to 1e-9 of their size, and 1e-12 where they are differences of larger ones. */
internal class Same {
    var compared = 0L
    var equal = 0L
    var worst = 0.0

    fun number(wanted: Any?, got: Double, what: () -> String) {
        val expected = wanted.number()
        compared++
        if (expected == got || (expected.isNaN() && got.isNaN())) {
            equal++
            return
        }
        val apart = Math.abs(expected - got)
        val size = Math.max(Math.abs(expected), Math.abs(got))
        worst = Math.max(worst, apart / Math.max(size, 1e-3))
        assertTrue(apart <= 1e-9 * size + 1e-12) { "${what()}: $expected is wanted, but it is $got" }
    }

    fun numbers(wanted: Any?, got: DoubleArray, what: () -> String) {
        val expected = wanted.list()
        assertTrue(expected.size == got.size) { "${what()}: ${got.size} numbers" }
        for (index in got.indices) number(expected[index], got[index]) { "${what()}[$index]" }
    }

    override fun toString(): String = "$compared numbers, $equal equal bit for bit, the worst %.1e apart".format(worst)
}
