package io.adascale.policies

import io.adascale.BadInput
import io.adascale.files.Json
import io.adascale.seams.Event
import io.adascale.seams.Header
import io.adascale.seams.Traces
import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Whole traces: a replay gives the events that the Python runtime's replay gives. */
class ReplayVectorsTest {
    private val same = Same()

    @Test
    fun `every replay gives the events of the Python runtime`(@TempDir folder: File) {
        var runs = 0
        var events = 0
        for ((number, line) in PolicyVectors.lines("replays").withIndex()) {
            val trace = read(folder, line.getValue("header"), line.getValue("events"))
            for (run in line.getValue("runs").list()) {
                val (got, wanted) = played(folder, trace.first, trace.second, run.obj(), "trace $number") ?: continue
                for (index in wanted.indices) same("trace $number ${run.obj()["policy"]} $index", wanted[index], got[index])
                events += got.size
                runs++
            }
        }
        println("$runs replays with $events events: $same")
    }

    private fun played(
        folder: File, header: Header, recorded: List<Event>, run: Map<String, Any?>, where: String,
    ): kotlin.Pair<List<Event>, List<Event>>? {
        val budget = budget(run["budget"])
        val got = try {
            Replay.replay(header.bundle, header, recorded, budget, run["policy"] as String)
        } catch (error: BadInput) {
            assertEquals(run["refuses"], error.sentence) { where }
            return null
        }
        assertEquals(run["ignored"], Replay.ignored(header, recorded, budget)) { where }
        val wanted = read(folder, headerJson(header), run.getValue("events")).second
        assertEquals(wanted.size, got.size) { where }
        return kotlin.Pair(got, wanted)
    }

    private fun same(where: String, wanted: Event, got: Event) {
        same.number(wanted.latencyMs, got.latencyMs) { "$where latency" }
        same.number(wanted.slowdown, got.slowdown) { "$where slowdown" }
        assertEquals(wanted.broken.keys.toList(), got.broken.keys.toList()) { where }
        for ((name, beyond) in wanted.broken) same.number(beyond, got.broken.getValue(name)) { "$where $name" }
        val alike = got.copy(latencyMs = wanted.latencyMs, slowdown = wanted.slowdown, broken = wanted.broken)
        assertEquals(wanted, alike) { where }
    }

    /** A trace as its file is read. */
    private fun read(folder: File, header: Any?, events: Any?): kotlin.Pair<Header, List<Event>> {
        val path = File(folder, "trace.jsonl")
        path.writeText(Json.dumpLine(header) + events.list().joinToString("") { Json.dumpLine(it) })
        val trace = Traces.read(path)
        return kotlin.Pair(trace.header, trace.events)
    }

    private fun headerJson(header: Header): Any? = Json.parse(Traces.line(header), "header")
}
