package io.adascale.policies

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.seams.Budget
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** Single functions as the Python runtime has them. */
class RuleVectorsTest {
    private val same = Same()

    @Test
    fun `every function gives what the Python runtime gives`() {
        var lines = 0
        for (line in PolicyVectors.lines("rules")) {
            check(line)
            lines++
        }
        println("$lines calls: $same")
    }

    private fun check(line: Map<String, Any?>) {
        val what = { line.toString().take(400) }
        when (val rule = line["rule"]) {
            "throttled" ->
                number(line, Pressure.throttled(line["then"].number(), line.num("now"), line.num("most")))
            "crowding" -> {
                val context = context(line["context"])
                val engine = Engine(line["delegate"] as String, line.num("threads").toInt())
                number(line, Pressure.crowding(context, engine, line.num("more")).toDouble())
                if (context != null) same.number(line["crowd"], Pressure.crowd(context), what)
            }
            "presumed" -> number(line, Pressure.presumed(line.num("level").toInt(), line.num("slack_ms")))
            "excesses" -> {
                val had = excesses(line["had"])
                same.number(line["longer"], had.longer(line.num("slack_ms")), what)
                had.keep(line.num("share"))
                for (run in line["runs"].list()) had.add(run.numbers()[0], run.numbers()[1])
                same.numbers(line["gives"], doubleArrayOf(had.exposureMs) + had.counts(), what)
            }
            "rate" -> {
                val learning = Learning(trustMs = line.num("trust_ms"), caution = line.num("caution"))
                val got = Pressure.rate(
                    excesses(line["window"]), excesses(line["habit"]), line.num("level").toInt(),
                    line.num("slack_ms"), learning, line.num("fresh"),
                )
                number(line, got)
            }
            "choose" -> told(line) {
                val pair = Cascade.choose(table(line["table"]).options, line.num("budget_ms"))
                listOf(pair.first.id, pair.second.id)
            }
            "share" -> {
                val options = line["table"].list().map { option(it) }
                val pair = Pair(options[0], options[1])
                number(line, Cascade.shareOf(pair, line.num("budget_ms"), line.num("slowdown")))
            }
            "confidence" -> {
                val logits = line["logits"].numbers()
                val got = Cascade.softmax(logits, line.num("temperature"))
                same.numbers(line["gives"], got, what)
                same.number(line["gives"].numbers().max(), Cascade.confidence(logits, line.num("temperature")), what)
            }
            "signals" -> {
                val budget = budget(line["budget"])
                assertEquals(line["on_energy"], Limits.onEnergy(budget), what)
                told(line) {
                    Limits.checkSignals(budget, context(line["context"])!!, line["best_effort"] == true)
                }
            }
            "unknown" -> told(line) {
                val contexts = line["contexts"].list().map { context(it)!! }
                Limits.unknown(budget(line["budget"]), table(line["table"]), contexts)
            }
            "feasible" -> feasible(line, table(line["table"]), budget(line["budget"]), what)
            "ranking" -> told(line) { table(line["table"]).ranking().map { it.id } }
            "foresee" -> told(line) {
                val latencies = line["latencies_ms"].obj().mapValues { it.value.number() }
                Rivals.foresee(budget(line["budget"]), table(line["table"]), latencies).id
            }
            "parsed_habits" -> lists(line, Habits.toJson(Habits.parse(line["data"])), what)
            "parsed_told" -> lists(line, Habits.toldToJson(Habits.parseTold(line["data"])), what)
            "engine" -> told(line) {
                Engine.parse(line["name"] as String)?.let { listOf(it.delegate, it.threads.toLong()) }
            }
            "trend" -> {
                val trend = Trend()
                for (one in line["samples"].list()) {
                    trend.follow(one.numbers()[0], one.numbers()[1], line.num("constant_s"))
                }
                same.numbers(line["gives"], doubleArrayOf(trend.value, trend.slope, trend.timeS), what)
                same.number(line["rise"], trend.rise(line.num("ahead_s")), what)
            }
            "numbers" -> {
                val value = line.num("value")
                assertEquals(line["fixed"], Formats.fixed(value, 2), what)
                assertEquals(line["percent"], Formats.percent(value, 1), what)
                assertEquals(line["three"], Text.general(value, 3), what)
                assertEquals(line["four"], Text.general(value, 4), what)
                assertEquals(line.num("rounded"), Formats.rounded(value, 6), 0.0, what)
            }
            "gate" -> {
                val gate = Gate(line.num("sure"))
                for (one in line["asked"].list()) {
                    val (confidence, share, asks) = one.list()
                    assertEquals(asks, gate.asks(confidence.number(), share.number()), what)
                }
            }
            "temperature" -> {
                val labels = line["labels"].list().map { it.number().toInt() }.toIntArray()
                number(line, Cascade.fitTemperature(line["outputs"].list().map { it.numbers() }, labels))
            }
            else -> error("no rule $rule")
        }
    }

    private fun feasible(line: Map<String, Any?>, table: Table, budget: Budget, what: () -> String) {
        assertEquals(line["keeps_idle"], table.options.map { Policies.keepsIdle(it, budget, table) }, what)
        assertEquals(line["fallback"], Policies.fallback(budget, table).id, what)
        told(line) {
            Policies.checkFeasible(budget, table)
            null
        }
    }

    private fun number(line: Map<String, Any?>, got: Double) {
        same.number(line["gives"], got) { line.toString().take(400) }
    }

    private fun told(line: Map<String, Any?>, call: () -> Any?) {
        val what = { line.toString().take(400) }
        try {
            val got = call()
            assertEquals(null, line["refuses"], what)
            assertEquals(line["gives"], got, what)
        } catch (error: BadInput) {
            assertEquals(line["refuses"], error.sentence, what)
        }
    }

    private fun lists(line: Map<String, Any?>, got: Map<String, List<Double>>, what: () -> String) {
        val wanted = line["gives"].obj()
        assertEquals(wanted.keys.toList(), got.keys.toList(), what)
        for ((name, numbers) in wanted) same.numbers(numbers, got.getValue(name).toDoubleArray(), what)
    }

    private fun excesses(data: Any?): Excesses {
        val numbers = data.numbers()
        return Excesses.of(numbers.copyOfRange(1, numbers.size), numbers[0])
    }
}
