package io.adascale.policies

import io.adascale.seams.Budget
import io.adascale.seams.Context
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** Histories of inferences: every decision, reason and state as the Python runtime has them. */
class DecisionVectorsTest {
    private val same = Same()
    private var steps = 0

    @Test
    fun `every decision and state is as the Python runtime has it`() {
        var cases = 0
        for (data in PolicyVectors.lines("decisions-")) {
            Case(data, "case $cases").play()
            cases++
        }
        println("$cases cases with $steps steps: $same")
    }

    private inner class Case(private val data: Map<String, Any?>, private val where: String) {
        private val all: Table = table(data["table"])
        private val budget: Budget = budget(data["budget"])
        private val settings: Settings = settings(data["settings"])
        private val policy = Policies.find(data["policy"] as String)
        private val state = State(all, Habits.parse(data["habits"]), Habits.parseTold(data["told"]))
        private val decision = Decision()
        private val verdicts = Verdicts()
        private var table: Table = all
        private var context: Context = checkNotNull(context(data["context"]))

        fun play() {
            val all = data.getValue("steps").list()
            for ((number, step) in all.withIndex()) {
                play(step.obj(), number == all.size - 1) { "$where step $number" }
                steps++
            }
            held(data.getValue("state").obj())
        }

        private fun play(step: Map<String, Any?>, last: Boolean, what: () -> String) {
            if ("begin" in step) return state.begin(Habits.parseTold(step["begin"]))
            if ("seen" in step) return seen(step, what)
            step["audit"]?.obj()?.let { audit ->
                val factors = audit.getValue("energies").obj().mapValues { it.value.number() }
                state.audited(factors, audit["rest_mw"].numberOrNull())
            }
            context(step["context"])?.let { context = it }
            val context = this.context
            val there = table.without(step["absent"].strings()).let { if (it.size == 0) table else it }
            val timeS = step.num("time_s")
            same.number(step["tolerance"], Prospects.tolerance(state, settings)) { what() + " tolerance" }
            if (last) outlook(context, timeS, there)
            policy.decide(context, timeS, budget, there, state, settings, decision)
            assertEquals(step["branch"], decision.branch) { what() }
            assertEquals(step["reason"], decision.reason) { what() }
            same.number(step["slowdown"], decision.slowdown) { what() + " slowdown" }
            val branch = decision.branch
            if (step["lost"] == true) {
                state.forget(branch)
                table = table.without(listOf(branch))
                return
            }
            val latencyMs = step.num("latency_ms")
            val late = Verdicts.late(budget, latencyMs)
            assertEquals(step["late"], late) { what() }
            state.settle(decision)
            state.observe(decision.option, latencyMs, step.num("ended_s"), settings, late, context)
            verdicts.judge(budget, decision.option, latencyMs, context, timeS, state, settings)
            val broken = step.getValue("broken").obj()
            assertEquals(broken.isEmpty(), verdicts.kept) { what() }
            assertEquals(broken.keys.toList(), verdicts.broken().keys.toList()) { what() }
            for ((name, beyond) in verdicts.broken()) same.number(broken[name], beyond) { what() + " " + name }
            sums(step["sums"], decision.option, what)
        }

        private fun seen(step: Map<String, Any?>, what: () -> String) {
            val option = checkNotNull(all.find(step["seen"] as String))
            val known = if (step["known"] == true) context else null
            state.observe(
                option, step.num("latency_ms"), step.num("ended_s"), settings, step["late"] == true, known,
            )
            sums(step["sums"], option, what)
        }

        private fun sums(wanted: Any?, option: Option, what: () -> String) {
            val window = checkNotNull(state.window(option.engine))
            val excesses = checkNotNull(state.excesses(option.engine))
            val one = checkNotNull(state.correction(option))
            assertEquals(wanted.list()[0], state.branch) { what() }
            val got = doubleArrayOf(
                finite(state.sinceS), state.periodS, state.lastS, state.served, state.late, state.drawnMj, state.drawnS,
                window.weight, window.ratios, window.apart, window.timeS, window.others, window.before, window.last,
                window.upper, window.openMs, excesses.exposureMs, excesses.count(0), one.weight, one.total, one.timeS,
                one.recent,
            )
            same.numbers(wanted.list().drop(1), got) { what() + " sums" }
        }

        private fun outlook(context: Context, timeS: Double, there: Table) {
            val prospects = state.prospects.look(context, timeS, budget, there, settings)
            for (row in data.getValue("outlook").list()) {
                val wanted = row.list()
                val option = checkNotNull(there.find(wanted[0] as String))
                val got = prospects.of(option)
                val what = { "$where outlook ${option.id}" }
                val numbers = doubleArrayOf(got.expectedMs, got.boundMs, got.miss, got.slowdown, got.powerMw)
                same.numbers(wanted.subList(1, 6), numbers, what)
                assertEquals(wanted[6], prospects.allowed(option), what)
                assertEquals(wanted[7], prospects.fits(option), what)
                assertEquals(wanted[8], prospects.fits(option, settings.headroom), what)
            }
        }

        /** All that the state holds in the end. */
        private fun held(wanted: Map<String, Any?>) {
            assertEquals(wanted["branch"], state.branch)
            same.number(wanted["since_s"], finite(state.sinceS)) { "$where since" }
            same.number(wanted["rest_mw"], state.restMw) { "$where rest" }
            same.number(wanted["drawn_mw"], state.drawnMw) { "$where drawn" }
            same.number(wanted["cap_mhz"], state.capMhz) { "$where cap" }
            trend(wanted["load"], state.load, "load")
            trend(wanted["heat"], state.heat, "heat")
            val habits = Habits.toJson(state.habits())
            assertEquals(wanted.getValue("habits").obj().keys, habits.keys) { where }
            for ((name, had) in wanted.getValue("habits").obj()) {
                same.numbers(had, habits.getValue(name).toDoubleArray()) { "$where habits $name" }
            }
            for (engine in all.engines) engine(engine, wanted)
            for (option in all.options) {
                val had = wanted.getValue("corrections").obj()[option.id] ?: continue
                val one = checkNotNull(state.correction(option))
                val got = doubleArrayOf(one.weight, one.total, one.timeS, one.recent)
                same.numbers(had, got) { "$where ${option.id}" }
            }
        }

        private fun engine(engine: Engine, wanted: Map<String, Any?>) {
            wanted.getValue("excesses").obj()[engine.name]?.let { had ->
                val got = checkNotNull(state.excesses(engine))
                same.numbers(had, doubleArrayOf(got.exposureMs) + got.counts()) { "$where excesses ${engine.name}" }
            }
            val window = checkNotNull(state.window(engine))
            val had = wanted.getValue("windows").obj()[engine.name]?.list() ?: return
            assertEquals(had[4], if (window.option < 0) "" else all.options[window.option].id) { where }
            val got = doubleArrayOf(
                window.weight, window.ratios, window.apart, window.timeS, window.others, window.before, window.last,
                window.upper, window.openMs,
            )
            same.numbers(had.filterIndexed { index, _ -> index != 4 }, got) { "$where window ${engine.name}" }
        }

        private fun trend(wanted: Any?, got: Trend, name: String) {
            same.numbers(wanted, doubleArrayOf(got.value, got.slope, got.timeS)) { "$where $name" }
        }
    }

    private fun finite(value: Double): Double = if (value.isInfinite()) Double.NaN else value
}
