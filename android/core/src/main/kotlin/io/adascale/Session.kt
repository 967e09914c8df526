// Sessions: a bundle, a budget, and `predict`, which chooses an open branch before every inference.
package io.adascale

import io.adascale.engines.Opener
import io.adascale.engines.Runner
import io.adascale.policies.Decision
import io.adascale.policies.Policies
import io.adascale.policies.Policy
import io.adascale.policies.Table
import io.adascale.policies.Verdicts
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import io.adascale.seams.Context
import java.nio.FloatBuffer

/**
 * Keeps a budget while it predicts; thread-safe, one inference at a time.
 *
 * Opening loads every branch on every delegate with every number of threads and measures its latency, which the [table]
 * of options keeps for the policy; [broken] says why options could not be opened. A branch that fails later, or answers
 * a NaN or an infinity, is taken out, and the next best answers the same request.
 *
 * Options of the first delegate and number of threads have the branch's id, others `branch@delegatexTHREADS`: on a
 * crowded CPU one thread is safer than two, which both have to be served.
 *
 * Unlike Python's, this session runs no anchors, so that its table is for the speed of the moment in which it opens; it
 * tries no file in a process of its own first; and it has no meter that checks predictions of energy.
 *
 * @param bundle what has the branches.
 * @param budget what every inference should keep.
 * @param opener what executes branches.
 * @param options everything else; read once.
 * @throws BadInput no branch could keep the budget even on an idle device, or the device lacks the sensor of a limit.
 * @throws UnknownDelegate there is no such delegate here.
 * @throws AdaScaleError no branch can be opened.
 */
public class Session @JvmOverloads constructor(
    bundle: Bundle, budget: Budget, opener: Opener, options: SessionOptions = SessionOptions(),
) : BaseSession(bundle, budget, opener, checked(options)) {
    private val policy: Policy = Policies.find(options.policy)
    private val decision = Decision()

    override fun serve(input: FloatBuffer, output: FloatArray?): FloatArray {
        while (true) {
            val begunNs = System.nanoTime()
            val timeS = seconds(begunNs)
            val snapshot = snapshot()
            val runner = choose(snapshot, timeS)
            val option = decision.option
            val decidedNs = System.nanoTime()
            val switched = state.branch != null && state.branch != option.id
            val startedNs = System.nanoTime()
            val answer = try {
                ask(runner, input, output)
            } finally {
                ready.release()
            }
            val endedNs = System.nanoTime()
            if (answer == null) {
                leaveOut(option.id)
                continue
            }
            val latencyMs = millis(endedNs - startedNs)
            val endedS = seconds(endedNs)
            state.settle(decision)
            state.observe(option, latencyMs, endedS, settings, Verdicts.late(budget, latencyMs), snapshot)
            latest.verdicts.judge(budget, option, latencyMs, snapshot, timeS, state, settings)
            latest.timeS = timeS
            latest.endedS = endedS
            latest.decideMs = millis(decidedNs - begunNs)
            latest.switchMs = millis(startedNs - begunNs)
            latest.latencyMs = latencyMs
            latest.baseMs = option.latencyMs
            latest.slowdown = decision.slowdown
            latest.switched = switched
            latest.option = option
            latest.decision = decision
            news(snapshot)
            return answer
        }
    }

    /** Decides, and gives what runs it; it may be another option than the best one where that is not ready. */
    private fun choose(snapshot: Context, timeS: Double): Runner {
        while (true) {
            ready.look(snapshot, state.branch)
            decide(snapshot, timeS, ready.possible)
            latest.absent = ready.absent
            val wanted = decision.branch
            ready.take(wanted)?.let { return it }
            if (ready.failed(wanted)) { // it could be opened once, and cannot any more
                leaveOut(wanted)
                continue
            }
            ready.prepare(wanted)
            val there = ready.now() ?: throw AdaScaleError("No branch of the bundle is ready on this device; try again.")
            decide(snapshot, timeS, there)
            latest.absent = ready.table.options.map { it.id }.filter { there.find(it) == null }
            ready.take(decision.branch)?.let { return it }
        }
    }

    private fun decide(snapshot: Context, timeS: Double, table: Table) {
        policy.decide(snapshot, timeS, budget, table, state, settings, decision)
    }

    internal companion object {
        /** Milliseconds of nanoseconds, rounded as they stand in a trace, before anything is decided on them. */
        fun millis(ns: Long): Double = Math.rint(1e-2 * ns) / 1e4

        /** Refuses policies that a session cannot have, before anything is opened. */
        private fun checked(options: SessionOptions): SessionOptions {
            Policies.find(options.policy)
            if (options.policy == "oracle") {
                throw BadInput("The policy '${options.policy}' needs future latencies; use it in replays only.")
            }
            return options
        }
    }
}
