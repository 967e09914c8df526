package io.adascale.policies

import io.adascale.BadInput
import io.adascale.seams.Budget
import io.adascale.seams.Context
import io.adascale.seams.Event
import io.adascale.seams.Header

/**
 * A policy on recorded contexts and latencies: deterministic, without an inference.
 *
 * What the device did at each recorded inference meets whichever branch the policy chooses: the slowdown as it is, a
 * stall with a probability in proportion to the branch's running time ([Pressure]), drawn from the inference's number.
 * With the recorded budget and policy the decisions are the recorded ones, because nothing else enters them.
 */
public object Replay {
    /** A recorded run was stalled if it took so many times what was expected. */
    public const val STALL: Double = 1.6

    /** The golden ratio's fraction: its multiples are evenly spread, and the same every time. */
    private const val GOLDEN = 0.6180339887498949

    /**
     * The events that a policy would have made of a trace.
     *
     * @param digest the digest of the bundle that the trace was recorded with.
     * @param header the trace's first line.
     * @param events the recorded inferences.
     * @param budget what should have been kept; [unknownLimits] says which limits the trace tells nothing about.
     * @param policy the name of a policy.
     * @return an event for each recorded one.
     * @throws BadInput the trace is of another bundle, there is no such policy, or no branch can keep the budget.
     */
    @JvmStatic
    public fun replay(
        digest: String, header: Header, events: List<Event>, budget: Budget, policy: String,
    ): List<Event> {
        if (header.bundle != digest) {
            throw BadInput(
                "The trace was recorded with another bundle (${header.bundle}, not $digest); give the bundle it was " +
                    "recorded with.",
            )
        }
        val rule = Policies.find(policy)
        val table = PolicyJson.table(header)
        val settings = PolicyJson.settings(header)
        Policies.checkFeasible(budget, table)
        val state = State(table, Habits.parse(header.habits), Habits.parseTold(header.told))
        return Player(table, settings, budget, if (policy == Rivals.ORACLE) null else rule, state).play(events)
    }

    /**
     * Which limits of a budget a trace tells nothing about, so that a replay cannot keep them, and what is missing, by
     * the limit's name; empty if it has a signal for every limit.
     *
     * @throws BadInput the trace's table of options is missing or damaged.
     */
    @JvmStatic
    public fun unknownLimits(header: Header, events: List<Event>, budget: Budget): Map<String, String> =
        Limits.unknown(budget, PolicyJson.table(header), events.mapNotNull { it.context })

    /**
     * A sentence for each limit of a budget that a trace tells nothing about, so that no policy kept it.
     *
     * @throws BadInput the trace's table of options is missing or damaged.
     */
    @JvmStatic
    public fun ignored(header: Header, events: List<Event>, budget: Budget): List<String> =
        unknownLimits(header, events, budget).map { (name, what) ->
            val forThem = if (" of " in what) " for them" else ""
            "The trace records no ${what.replaceFirst(" of ", " for ")}, so the limit $name was ignored$forThem."
        }

    /** What an option would have taken at a recorded inference, the [number]-th of its trace from 0 on, in ms. */
    @JvmStatic
    public fun wouldTakeMs(event: Event, option: Option, number: Int): Double {
        // Exactly the recorded number, not one that was divided and multiplied; but a cascade's is that of two branches.
        if (option.id == event.branch && option.latencyMs == event.baseMs) return event.latencyMs
        val expectedMs = event.baseMs * event.slowdown
        val stallMs = if (event.latencyMs > STALL * expectedMs) event.latencyMs - expectedMs else 0.0
        if (stallMs == 0.0) return event.latencyMs / event.baseMs * option.latencyMs
        val draw = ((number + 1) * GOLDEN) % 1.0
        val hit = draw < option.latencyMs / event.baseMs
        return option.latencyMs * event.slowdown + if (hit) stallMs else 0.0
    }

    /** One replay; without a rule it is the oracle's. */
    private class Player(
        private var table: Table, private val settings: Settings, private val budget: Budget,
        private val rule: Policy?, private val state: State,
    ) {
        private val decision = Decision()
        private val verdicts = Verdicts()
        private var context = Context(0.0)
        private var absent: List<String> = emptyList()
        private var there = table

        fun play(events: List<Event>): List<Event> = events.mapIndexed { number, event -> next(event, number) }

        private fun next(event: Event, number: Int): Event {
            for (branch in event.failed) {
                table = table.without(listOf(branch))
                state.forget(branch)
            }
            if (table.size == 0) {
                throw BadInput("Event ${number + 1} of the trace has no branch left; record it again.")
            }
            event.audit?.let { state.audited(it.energies, it.restMw) }
            event.context?.let { context = it }
            decide(event, number)
            val before = state.branch
            val option = decision.option
            val latencyMs = wouldTakeMs(event, option, number)
            state.settle(decision)
            state.observe(option, latencyMs, event.endedS, settings, Verdicts.late(budget, latencyMs), context)
            verdicts.judge(budget, option, latencyMs, context, event.timeS, state, settings)
            return event.copy(
                branch = option.id,
                reason = decision.reason,
                switched = before != null && before != option.id,
                latencyMs = latencyMs,
                baseMs = option.latencyMs,
                slowdown = decision.slowdown,
                kept = verdicts.kept,
                // Whether the answer was right is only known for the branch that ran.
                correct = if (option.id == event.branch) event.correct else null,
                broken = verdicts.broken(),
            )
        }

        private fun decide(event: Event, number: Int) {
            if (rule == null) {
                val latencies = table.options.associate { it.id to wouldTakeMs(event, it, number) }
                val best = Rivals.foresee(budget, table, latencies)
                decision.take(table, best, "knows the future", event.timeS)
                return
            }
            if (event.absent != absent || event.failed.isNotEmpty() || number == 0) {
                absent = event.absent
                there = table.without(absent)
                if (there.size == 0) there = table
            }
            rule.decide(context, event.timeS, budget, there, state, settings, decision)
        }
    }
}
