package io.adascale.policies

import com.sun.management.ThreadMXBean
import io.adascale.BadInput
import io.adascale.seams.Budget
import io.adascale.seams.Context
import io.adascale.seams.Header
import java.lang.management.ManagementFactory
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** The policies by themselves, without vectors of the Python runtime. */
class PolicyTest {
    private val full = Option("full", 0.95, 4.0, 8.0, 4.0)
    private val half = Option("half", 0.90, 2.0, 4.0, 2.0)
    private val tiny = Option("tiny", 0.70, 0.5, 1.0, 1.0)
    private val table = Table(listOf(full, half, tiny))
    private val quiet = Context(0.0, runnable = 0, cores = 8)
    private val settings = Settings()

    private fun decided(
        state: State, budget: Budget, timeS: Double = 0.0, context: Context = quiet, from: Table = table,
        policy: String = "adaptive",
    ): Decision {
        val decision = Decision()
        Policies.find(policy).decide(context, timeS, budget, from, state, settings, decision)
        return decision
    }

    /** Runs an option some times, one after the other, at so many times its idle latency. */
    private fun State.ran(option: Option, times: Int, slowdown: Double, from: Double = 0.0): Double {
        var timeS = from
        repeat(times) {
            timeS += 1e-3 * option.latencyMs * slowdown
            observe(option, option.latencyMs * slowdown, timeS, settings, false, quiet)
        }
        return timeS
    }

    @Test
    fun `an idle device gets the most accurate branch that fits`() {
        val state = State(table)
        assertEquals("full", decided(state, Budget(latencyMs = 100.0)).branch)
        assertEquals("half", decided(state, Budget(latencyMs = 3.0)).branch)
        assertEquals("tiny", decided(state, Budget(memoryMb = 1.5)).branch)
        assertEquals("tiny", decided(state, Budget(energyMj = 3.0)).branch)
    }

    @Test
    fun `the reason tells bound, limit and the probability to come late`() {
        val decision = decided(State(table), Budget(latencyMs = 100.0))
        assertEquals("fits: 4.00 of 100 ms, 0.0% late", decision.reason)
        assertEquals("best that fits", decided(State(table), Budget(minAccuracy = 0.5)).reason)
    }

    @Test
    fun `a slowdown that one branch shows moves all, at once down and later up`() {
        val state = State(table)
        val budget = Budget(latencyMs = 6.0)
        state.settle(decided(state, budget))
        assertEquals("full", state.branch)
        val slowS = state.ran(full, 200, 2.5, from = state.ran(full, 300, 1.0))
        val down = decided(state, budget, slowS)
        assertEquals("half", down.branch)
        assertEquals(2.5, down.slowdown, 0.25)
        state.settle(down)
        val laterS = state.ran(half, 4000, 1.0, state.ran(half, 150, 2.5, slowS))
        val patient = Decision()
        Policies.find("adaptive").decide(quiet, laterS, budget, table, state, Settings(dwellS = 60.0), patient)
        assertEquals("dwells", patient.reason)
        assertEquals("half", patient.branch)
        assertEquals("full", decided(state, budget, laterS).branch)
    }

    @Test
    fun `a better branch that fits too tightly does not follow`() {
        val state = State(table)
        val cautious = Settings(dwellS = 0.0, headroom = 0.5)
        val decision = Decision()
        state.settle(decided(state, Budget(latencyMs = 3.0)))
        Policies.find("adaptive").decide(quiet, 1.0, Budget(latencyMs = 6.0), table, state, cautious, decision)
        assertEquals("half", decision.branch)
        assertEquals("a better one would fit too tightly", decision.reason)
    }

    @Test
    fun `where nothing fits the fastest serves`() {
        assertEquals("tiny", decided(State(table), Budget(latencyMs = 0.1)).branch)
        assertEquals("nothing fits: the fastest", decided(State(table), Budget(latencyMs = 0.1)).reason)
        val accurate = decided(State(table), Budget(latencyMs = 0.1, minAccuracy = 0.8))
        assertEquals("half", accurate.branch)
    }

    @Test
    fun `heat holds the costly branches back before the limit is reached`() {
        val budget = Budget(temperatureC = 60.0)
        assertEquals("full", decided(State(table), budget, context = quiet.copy(temperatureC = 50.0)).branch)
        assertEquals("half", decided(State(table), budget, context = quiet.copy(temperatureC = 58.2)).branch)
        assertEquals("tiny", decided(State(table), budget, context = quiet.copy(temperatureC = 59.5)).branch)
    }

    @Test
    fun `a decision changes nothing until it is settled`() {
        val state = State(table)
        val timeS = state.ran(half, 50, 1.3)
        val before = state.snapshot()
        for (policy in Policies.names().filter { it != Rivals.ORACLE }) {
            decided(state, Budget(latencyMs = 3.0, powerMw = 5000.0), timeS, policy = policy)
        }
        assertEquals(before, state.snapshot())
        state.settle(decided(state, Budget(latencyMs = 3.0), timeS))
        assertNotEquals(before, state.snapshot())
        assertEquals(timeS, state.sinceS)
    }

    @Test
    fun `a branch that was lost is chosen no more`() {
        val state = State(table)
        val budget = Budget(latencyMs = 100.0)
        state.settle(decided(state, budget))
        state.forget("full")
        assertEquals(null, state.branch)
        assertEquals("half", decided(state, budget, from = table.without(listOf("full"))).branch)
    }

    @Test
    fun `beginning anew keeps habits, also of engines that are not there`() {
        val other = Place(Engine("gpu", 1), 0)
        val counts = DoubleArray(Excesses.LENGTHS) { 14.0 - it }
        val state = State(table, mapOf(other to Excesses.of(counts, 7.0)), mapOf(full.engine to Told(2.0, 0.0)))
        assertEquals(2.0, decided(state, Budget(latencyMs = 100.0)).slowdown, 1e-12)
        state.ran(full, 5, 2.0)
        val learned = Habits.toJson(state.habits())
        state.begin()
        assertEquals(learned, Habits.toJson(state.habits()))
        assertEquals(setOf("cpu x 1 @ 0", "gpu x 1 @ 0"), learned.keys)
        assertEquals(learned, Habits.toJson(Habits.parse(learned)))
        assertEquals(1.0, decided(state, Budget(latencyMs = 100.0)).slowdown)
    }

    @Test
    fun `the audit corrects energy by engine and refuses what cannot be`() {
        val state = State(table)
        val budget = Budget(energyMj = 6.0)
        assertEquals("half", decided(state, budget).branch)
        state.audited(mapOf("cpu x 1" to 2.0), 100.0)
        assertEquals("tiny", decided(state, budget).branch)
        state.audited(mapOf("cpu x 1" to -2.0, "cpu" to 3.0), null)
        assertEquals("half", decided(state, budget).branch)
        assertTrue(state.restMw.isNaN())
    }

    @Test
    fun `wrong use is refused by a sentence`() {
        fun refused(call: () -> Unit) = assertThrows(BadInput::class.java) { call() }.sentence
        val state = State(table)
        assertEquals(
            "There is no policy 'nonsense'; choose among adaptive, epsilon-greedy, oracle, static-full, " +
                "static-smallest, threshold.",
            refused { Policies.find("nonsense") },
        )
        assertTrue(refused { Policies.register("adaptive", Policies.find("threshold")) }.contains("already"))
        assertTrue(refused { Table(listOf(full, full)) }.contains("twice"))
        val empty = table.without(listOf("full", "half", "tiny"))
        for (policy in Policies.names()) refused { decided(state, Budget(), from = empty, policy = policy) }
        assertEquals(
            "No branch keeps the budget latency_ms=0.1 even on an idle device (the fastest takes 0.5 ms); loosen it.",
            refused { Policies.checkFeasible(Budget(latencyMs = 0.1), table) },
        )
    }

    @Test
    fun `settings and tables come back from the first line of a trace`() {
        val wanted = Settings(misses = 0.1, forecastS = 2.0, learning = Learning(stall = 1.9))
        val header = Header(
            "adascale-events/1", "digest", emptyMap(), "cpu", 1, "", PolicyJson.toJson(table), PolicyJson.toJson(wanted),
        )
        assertEquals(wanted, PolicyJson.settings(header))
        assertEquals(table.options, PolicyJson.table(header).options)
        val damaged = header.copy(settings = mapOf("misses" to 2.0))
        val sentence = assertThrows(BadInput::class.java) { PolicyJson.settings(damaged) }.sentence
        assertEquals("settings.misses is 2, but it must be between 0 and 1; write the file again.", sentence)
        assertThrows(BadInput::class.java) { PolicyJson.table(header.copy(table = emptyMap())) }
    }

    @Test
    fun `the gate asks the share that it is told of, also among equal answers`() {
        for (digits in listOf(1.0, 1e6)) {
            val gate = Gate()
            val random = java.util.Random(3)
            val asked = (0 until 4000).count { gate.asks(Math.floor(random.nextDouble() * digits) / digits, 0.25) }
            assertEquals(0.25, asked / 4000.0, 0.03)
        }
    }

    @Test
    fun `an inference in steady state makes no garbage`() {
        val memory = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val me = Thread.currentThread().id
        val state = State(table)
        val decision = Decision()
        val verdicts = Verdicts()
        val budget = Budget(latencyMs = 6.0, energyMj = 9.0, powerMw = 9e3, temperatureC = 60.0)
        val policy = Policies.find("adaptive")
        val context = quiet.copy(temperatureC = 40.0, clockCapMhz = 2000.0)
        fun inferences(count: Int, from: Double) {
            var timeS = from
            for (index in 0 until count) {
                policy.decide(context, timeS, budget, table, state, settings, decision)
                val latencyMs = decision.option.latencyMs * (1.0 + 0.9 * Math.sin(timeS))
                timeS += 1e-3 * latencyMs
                state.settle(decision)
                state.observe(decision.option, latencyMs, timeS, settings, Verdicts.late(budget, latencyMs), context)
                verdicts.judge(budget, decision.option, latencyMs, context, timeS, state, settings)
            }
        }
        inferences(20_000, 0.0)
        val before = memory.getThreadAllocatedBytes(me)
        inferences(20_000, 100.0)
        val bytes = (memory.getThreadAllocatedBytes(me) - before) / 20_000.0
        assertTrue(bytes <= 200.0) { "$bytes bytes an inference" }
    }
}
