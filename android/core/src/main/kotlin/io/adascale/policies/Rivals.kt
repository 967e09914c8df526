package io.adascale.policies

import io.adascale.BadInput
import io.adascale.seams.Budget
import io.adascale.seams.Context

/** Policies to compare with: static, hand-written rules, epsilon-greedy, and the oracle of replays. */
public object Rivals {
    /** How often epsilon-greedy tries a branch at random. */
    public const val EPSILON: Double = 0.05

    /** The policy that needs to know the future, which only a recorded trace has. */
    public const val ORACLE: String = "oracle"

    internal fun all(known: MutableMap<String, Policy>) {
        known["static-full"] = StaticFull
        known["static-smallest"] = StaticSmallest
        known["threshold"] = Threshold
        known["epsilon-greedy"] = EpsilonGreedy
        known[ORACLE] = Oracle
    }

    /** The most accurate branch that keeps the budget with the latencies to come, in ms, else the fastest of these. */
    @JvmStatic
    public fun foresee(budget: Budget, table: Table, latenciesMs: Map<String, Double>): Option {
        val limits = Policies.idleLimits(budget, table)
        val limitMs = budget.latencyMs ?: Double.NaN
        val fitting = table.options.filter {
            limits.keep(table, table.slot(it.id), Double.NaN) && !(latenciesMs.getValue(it.id) > limitMs)
        }
        if (fitting.isNotEmpty()) return fitting.minWith(Option.RANK)
        var best = table.options[0]
        for (option in table.options) {
            val ms = latenciesMs.getValue(option.id)
            val bestMs = latenciesMs.getValue(best.id)
            if (ms < bestMs || (ms == bestMs && option.id < best.id)) best = option
        }
        return best
    }
}

/** The slots of a table that has some, the fastest first. */
private fun byLatency(table: Table): IntArray {
    if (table.size == 0) throw BadInput("The table of branches is empty; build a bundle with at least one.")
    return table.byLatency
}

/** Always the costliest branch: what an app does without adaptation. */
private object StaticFull : Policy {
    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ) {
        val order = byLatency(table)
        decision.take(table, order[order.size - 1], "static", timeS, 1.0)
    }
}

/** Always the fastest branch. */
private object StaticSmallest : Policy {
    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ) {
        decision.take(table, byLatency(table)[0], "static", timeS, 1.0)
    }
}

/**
 * Rules on the CPU load, as they are written by hand: big below 40 %, middle below 80 %, else small; small also when the
 * battery is low.
 */
private object Threshold : Policy {
    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ) {
        val order = byLatency(table)
        val load = context.cpuLoad ?: 0.0
        val battery = context.battery
        if (load >= 0.8 || (battery != null && battery < 0.2 && context.charging != true)) {
            decision.take(table, order[0], "load >= 80 % or battery < 20 %", timeS, 1.0)
        } else if (load >= 0.4) {
            decision.take(table, order[order.size / 2], "load >= 40 %", timeS, 1.0)
        } else {
            decision.take(table, order[order.size - 1], "load < 40 %", timeS, 1.0)
        }
    }
}

/**
 * The most accurate branch whose own recent mean latency keeps the budget; now and then one at random, to learn.
 *
 * A bandit without a model of the device: what one branch shows tells nothing of the others. The random numbers come
 * from the time, so that a replay makes the same decisions.
 */
private object EpsilonGreedy : Policy {
    private val HALF_ROOT = 0.5 * Math.sqrt(5.0)

    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ) {
        val draw = (Math.abs(timeS) * 7919.0 + HALF_ROOT) % 1.0
        if (draw < Rivals.EPSILON) {
            byLatency(table)
            decision.take(table, table.byId[(draw / Rivals.EPSILON * table.size).toInt()], "explores", timeS, 1.0)
            return
        }
        val limits = Limits()
        limits.set(budget, table, context, timeS, settings, state.energies, state.restMw, 0.0)
        val limitMs = budget.latencyMs ?: Double.NaN
        var best = -1
        for (slot in table.slots) {
            if (!limits.keep(table, slot, Double.NaN)) continue
            if (table.latencyMs[slot] * state.correction(slot).recent > limitMs) continue
            if (best < 0 || Option.RANK.compare(table.at(slot), table.at(best)) < 0) best = slot
        }
        if (best >= 0) {
            decision.take(table, best, "best mean", timeS, 1.0)
        } else {
            val safe = Policies.fastest(budget, table, null, table.slots, table.size)
            decision.take(table, safe, "nothing fits: the fastest", timeS, 1.0)
        }
    }
}

/** Knows what every branch would take: only for replays, which ask [Rivals.foresee]. */
private object Oracle : Policy {
    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ): Unit = throw BadInput(
        "The oracle knows the future, so it serves only in 'adascale replay' and 'compare-policies'.",
    )
}
