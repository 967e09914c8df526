// Cascade sessions: run a cheap branch, then a better one if it is unsure and the mean latency allows it.
package io.adascale

import io.adascale.engines.Opener
import io.adascale.policies.Cascade
import io.adascale.policies.Gate
import io.adascale.policies.Option
import io.adascale.policies.Pair
import io.adascale.policies.Policies
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import java.nio.FloatBuffer

/**
 * A cheap branch answers; the better one of [pair] is asked when it is unsure. The *mean* latency keeps the budget; every
 * other limit holds for each of the two. These two stay ready, whatever [SessionOptions.warmMb] says, and no others.
 *
 * An event's branch is the one whose answer counts, its latency that of both; `switched` says whether the second was
 * asked, `kept` whether the mean latency so far keeps the budget, and the branch its other limits.
 *
 * @param bundle what has the branches.
 * @param budget must limit latency, and cannot limit power, battery life or heat.
 * @param opener what executes branches.
 * @param options everything else; its policy decides nothing.
 * @property temperature Calibrates the first branch's confidence, see [Cascade.fitTemperature].
 * @throws BadInput the budget is none for a cascade, or no branch could keep it even on an idle device.
 */
public class CascadeSession @JvmOverloads constructor(
    bundle: Bundle, budget: Budget, opener: Opener, options: SessionOptions = SessionOptions(),
    @Volatile public var temperature: Double = 1.0,
) : BaseSession(bundle, checked(budget), opener, options) {
    private val plannedMs = PLANNED * (budget.latencyMs ?: 0.0)

    /** The branch that is asked first, and the one that is asked when it is unsure. */
    public val pair: Pair

    private val gate = Gate()
    private var totalMs = 0.0
    private var count = 0

    init {
        try {
            val limits = Policies.idleLimits(this.budget, table)
            val allowed = table.options.filter { limits.keep(table, table.slot(it.id), Double.NaN) }
            pair = Cascade.choose(allowed, plannedMs)
            ready.only(listOf(pair.first.id, pair.second.id).distinct())
        } catch (error: RuntimeException) {
            close()
            throw error
        }
    }

    override fun forget() {
        super.forget()
        gate.clear()
        totalMs = 0.0
        count = 0
    }

    override fun serve(input: FloatBuffer, output: FloatArray?): FloatArray {
        val (first, second) = pair
        val begunNs = System.nanoTime()
        val timeS = seconds(begunNs)
        val snapshot = snapshot()
        val mean = state.prospects.look(snapshot, timeS, budget, table, settings).mean(first.engine)
        val spent = totalMs > plannedMs * count // what the plan does not know shows in the mean
        val share = if (spent) 0.0 else Cascade.shareOf(pair, plannedMs, mean)
        val startedNs = System.nanoTime()
        var answer = ask(first, input, output)
        val middleNs = System.nanoTime()
        state.observe(first, 1e-6 * (middleNs - startedNs), seconds(middleNs), settings, false, snapshot)
        val sure = Cascade.confidence(answer, temperature)
        val again = second !== first && gate.asks(sure, share)
        if (again) answer = ask(second, input, output)
        val endedNs = System.nanoTime()
        val option = if (again) second else first
        latest.latencyMs = Session.millis(endedNs - startedNs)
        totalMs += latest.latencyMs
        count++
        latest.verdicts.judge(budget, option, totalMs / count, snapshot, timeS, state, settings)
        latest.timeS = timeS
        latest.endedS = seconds(endedNs)
        latest.decideMs = Session.millis(startedNs - begunNs)
        latest.switchMs = latest.decideMs
        latest.baseMs = first.latencyMs + if (again) second.latencyMs else 0.0
        latest.slowdown = mean
        latest.switched = again
        latest.option = option
        latest.words = (if (again) "asked again at " else "sure enough at ") + Text.general(Math.rint(100 * sure) / 100)
        news(snapshot)
        return answer
    }

    /** The answer of one of the two. */
    private fun ask(option: Option, input: FloatBuffer, output: FloatArray?): FloatArray {
        val runner = ready.take(option.id)
        val answer = try {
            runner?.let { ask(it, input, output) }
        } finally {
            ready.release()
        }
        if (answer != null) return answer
        if (runner != null) leaveOut(option.id)
        throw AdaScaleError("The branch ${option.id} of the cascade fails on this device; open a Session instead.")
    }

    private companion object {
        /** Share of the budget that is planned with; the rest is for what the plan does not know. */
        const val PLANNED = 0.95

        /** Refuses a budget that a cascade cannot keep. */
        fun checked(budget: Budget): Budget {
            if (budget.latencyMs == null) {
                throw BadInput("A cascade needs a budget with latency_ms, which limits the mean latency.")
            }
            val limits = budget.limits()
            // They change with the device, while a cascade's branches are chosen once.
            for (name in listOf("power_mw", "lifetime_h", "temperature_c")) {
                if (name in limits) {
                    throw BadInput("A cascade cannot enforce $name; remove it from the budget, or open a Session.")
                }
            }
            return budget
        }
    }
}
