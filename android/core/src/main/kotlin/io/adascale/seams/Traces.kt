// Files of events, format `adascale-events/1`: a header line, then one event a line, as JSON.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.files.Codec
import io.adascale.files.Decode
import io.adascale.files.Disk
import io.adascale.files.Fields
import io.adascale.files.Json
import io.adascale.files.Range
import io.adascale.files.Unwritable
import java.io.Closeable
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.Writer

/** Reading traces, and their lines. */
public object Traces {
    /** The format that this program reads and writes. */
    public const val FORMAT: String = "adascale-events/1"

    /**
     * The header and the events of a trace. A last line that was cut off by a kill is left out.
     *
     * @throws BadInput The file cannot be read or is no trace; the sentence names the line.
     */
    @JvmStatic
    public fun read(path: File): Trace {
        val lines = Disk.readLines(path).iterator()
        val first = if (lines.hasNext()) lines.next() else null
        if ((first as? Map<*, *>)?.get("format") != FORMAT) {
            throw BadInput("$path is not a trace of events ('$FORMAT' is expected in its first line).")
        }
        val header = header(first, "$path line 1")
        val events = ArrayList<Event>()
        while (lines.hasNext()) events.add(event(lines.next(), "$path line ${events.size + 2}"))
        return Trace(header, events)
    }

    /** The first line of a trace, with its newline. */
    @JvmStatic
    public fun line(header: Header): String = Json.dumpLine(
        linkedMapOf(
            "format" to header.format, "bundle" to header.bundle, "budget" to header.budget,
            "delegate" to header.delegate, "threads" to header.threads, "started" to header.started,
            "table" to header.table, "settings" to header.settings, "habits" to header.habits, "told" to header.told,
        ),
    )

    /** The line of an event, with its newline. */
    @JvmStatic
    public fun line(event: Event): String = Json.dumpLine(
        linkedMapOf(
            "time_s" to event.timeS, "ended_s" to event.endedS, "branch" to event.branch, "reason" to event.reason,
            "switched" to event.switched, "decide_ms" to event.decideMs, "switch_ms" to event.switchMs,
            "latency_ms" to event.latencyMs, "base_ms" to event.baseMs, "slowdown" to event.slowdown,
            "kept" to event.kept, "correct" to event.correct, "failed" to event.failed, "phase" to event.phase,
            "context" to event.context?.let { contextJson(it) }, "absent" to event.absent, "broken" to event.broken,
            "audit" to event.audit?.let { linkedMapOf("rest_mw" to it.restMw, "energies" to it.energies) },
        ),
    )

    private fun header(data: Any?, where: String): Header {
        val fields = Fields(data, where)
        val header = Header(
            format = fields.need("format", Codec.string),
            bundle = fields.need("bundle", Codec.string),
            budget = fields.need("budget", Codec.numbers),
            delegate = fields.need("delegate", Codec.string),
            threads = fields.need("threads", Codec.int),
            started = fields.need("started", Codec.string),
            table = fields.get("table", emptyMap(), Codec.anything),
            settings = fields.get("settings", emptyMap(), Codec.anything),
            habits = fields.get("habits", emptyMap(), Codec.anything),
            told = fields.get("told", emptyMap(), Codec.anything),
        )
        Range(1.0, 1e4).check(header.threads, "$where.threads")
        Range.NUMBER.checkAll(header.budget.values, "$where.budget")
        return header
    }

    /** An event from parsed JSON, such as a line of a trace. */
    internal fun event(data: Any?, where: String): Event {
        val fields = Fields(data, where)
        val event = Event(
            timeS = fields.need("time_s", Codec.double),
            endedS = fields.need("ended_s", Codec.double),
            branch = fields.need("branch", Codec.string),
            reason = fields.need("reason", Codec.string),
            switched = fields.need("switched", Codec.boolean),
            decideMs = fields.need("decide_ms", Codec.double),
            switchMs = fields.need("switch_ms", Codec.double),
            latencyMs = fields.need("latency_ms", Codec.double),
            baseMs = fields.need("base_ms", Codec.double),
            slowdown = fields.need("slowdown", Codec.double),
            kept = fields.need("kept", Codec.boolean),
            correct = fields.maybe("correct", Codec.boolean),
            failed = fields.get("failed", emptyList(), Codec.list(Codec.string)),
            phase = fields.maybe("phase", Codec.string),
            context = fields.maybe("context", context),
            absent = fields.get("absent", emptyList(), Codec.list(Codec.string)),
            broken = fields.get("broken", emptyMap(), Codec.numbers),
            audit = fields.maybe("audit", audit),
        )
        check(event, where)
        return event
    }

    /** What the numbers of an event may be: latencies are divided by what was expected. */
    private fun check(event: Event, where: String) {
        Range.NUMBER.check(event.timeS, "$where.time_s")
        Range.NUMBER.check(event.endedS, "$where.ended_s")
        Range.AMOUNT.check(event.decideMs, "$where.decide_ms")
        Range.AMOUNT.check(event.switchMs, "$where.switch_ms")
        Range.AMOUNT.check(event.latencyMs, "$where.latency_ms")
        Range.POSITIVE.check(event.baseMs, "$where.base_ms")
        Range.POSITIVE.check(event.slowdown, "$where.slowdown")
        Range.AMOUNT.checkAll(event.broken.values, "$where.broken")
        event.context?.let { check(it, "$where.context") }
        event.audit?.let {
            Range.AMOUNT.check(it.restMw, "$where.audit.rest_mw")
            Range.POSITIVE.checkAll(it.energies.values, "$where.audit.energies")
        }
    }

    /**
     * Refuses a context whose numbers cannot be; a charge or load a little above 1 is a matter of rounding and clocks.
     */
    internal fun check(context: Context, where: String) {
        Range.NUMBER.check(context.timeS, "$where.time_s")
        Range(-0.01, 10.0).check(context.cpuLoad, "$where.cpu_load")
        Range(0.0, 1e6).check(context.runnable, "$where.runnable")
        Range(1.0, 1e6).check(context.cores, "$where.cores")
        Range(0.0, 1e6).check(context.cpuFreqMhz, "$where.cpu_freq_mhz")
        Range.AMOUNT.check(context.memoryFreeMb, "$where.memory_free_mb")
        Range(-0.01, 1.5).check(context.battery, "$where.battery")
        Range(-1e3, 1e4).check(context.temperatureC, "$where.temperature_c")
        Range(0.0, 1e6).check(context.clockCapMhz, "$where.clock_cap_mhz")
    }

    internal val context: Decode<Context> = { data, where ->
        val fields = Fields(data, where)
        Context(
            timeS = fields.need("time_s", Codec.double),
            cpuLoad = fields.maybe("cpu_load", Codec.double),
            runnable = fields.maybe("runnable", Codec.int),
            cores = fields.maybe("cores", Codec.int),
            cpuFreqMhz = fields.maybe("cpu_freq_mhz", Codec.double),
            memoryFreeMb = fields.maybe("memory_free_mb", Codec.double),
            battery = fields.maybe("battery", Codec.double),
            charging = fields.maybe("charging", Codec.boolean),
            temperatureC = fields.maybe("temperature_c", Codec.double),
            reasons = fields.maybe("reasons", Codec.strings),
            clockCapMhz = fields.maybe("clock_cap_mhz", Codec.double),
        )
    }

    internal fun contextJson(context: Context): Map<String, Any?> = linkedMapOf(
        "time_s" to context.timeS, "cpu_load" to context.cpuLoad, "runnable" to context.runnable,
        "cores" to context.cores, "cpu_freq_mhz" to context.cpuFreqMhz, "memory_free_mb" to context.memoryFreeMb,
        "battery" to context.battery, "charging" to context.charging, "temperature_c" to context.temperatureC,
        "reasons" to context.reasons, "clock_cap_mhz" to context.clockCapMhz,
    )

    private val audit: Decode<Audit> = { data, where ->
        val fields = Fields(data, where)
        Audit(fields.maybe("rest_mw", Codec.double), fields.get("energies", emptyMap(), Codec.numbers))
    }
}

/**
 * Writes a trace line by line, so that a kill loses little.
 *
 * @param path The file, which is replaced.
 * @throws Unwritable The file cannot be written; also from the other functions, as soon as that shows.
 */
public class TraceWriter(private val path: File, header: Header) : Closeable {
    private val file: Writer
    private var flushedNs = System.nanoTime()

    init {
        path.absoluteFile.parentFile?.mkdirs()
        file = writing { FileOutputStream(path).bufferedWriter(Charsets.UTF_8) }
        writing { file.write(Traces.line(header)) }
    }

    /** Add an event; what was added is on the disk at least every second. */
    public fun write(event: Event) {
        writing {
            file.write(Traces.line(event))
            if (System.nanoTime() - flushedNs > FLUSH_NS) {
                file.flush()
                flushedNs = System.nanoTime()
            }
        }
    }

    /** Finish the file. */
    override fun close() {
        writing { file.close() }
    }

    private fun <T> writing(block: () -> T): T = try {
        block()
    } catch (error: IOException) {
        throw Unwritable("$path cannot be written (${error.message}); free some space or choose another place.")
    }

    private companion object {
        const val FLUSH_NS = 1_000_000_000L
    }
}
