package io.adascale.policies

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.seams.Budget
import io.adascale.seams.Context

/**
 * Chooses the option for the next inference.
 *
 * It must be pure but for what it fills: what it remembers is in the state, which only [State.settle] and
 * [State.observe] change, and random numbers come from the time, so that a replay takes the same decisions.
 */
public fun interface Policy {
    /**
     * Decides.
     *
     * @param context what the device has left now; its own time is not looked at.
     * @param timeS seconds since the session's start.
     * @param budget what the inference should keep.
     * @param table the options that can be chosen, at least one.
     * @param state what was observed so far.
     * @param settings how cautious to be.
     * @param decision takes the option that serves, and why.
     * @throws BadInput the table is empty.
     */
    public fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    )
}

/** The registry of policies. */
public object Policies {
    private val known: MutableMap<String, Policy> = java.util.TreeMap()

    init {
        known["adaptive"] = Adaptive
        Rivals.all(known)
    }

    /**
     * Registers a policy under a name.
     *
     * @throws BadInput the name is taken.
     */
    @JvmStatic
    public fun register(name: String, policy: Policy) {
        synchronized(known) {
            if (name in known) throw BadInput("There is a policy '${Text.excerpt(name)}' already; choose another name.")
            known[name] = policy
        }
    }

    /**
     * The policy of a name.
     *
     * @throws BadInput there is none.
     */
    @JvmStatic
    public fun find(name: String): Policy = synchronized(known) {
        known[name] ?: throw BadInput(
            "There is no policy '${Text.excerpt(name)}'; choose among ${known.keys.joinToString(", ")}.",
        )
    }

    /** The names of all policies; sorted. */
    @JvmStatic
    public fun names(): List<String> = synchronized(known) { ArrayList(known.keys) }

    /**
     * The safe option when time is short: the fastest of those that are accurate enough, else the fastest.
     *
     * @throws BadInput the table is empty.
     */
    @JvmStatic
    public fun fallback(budget: Budget, table: Table): Option = 
        table.at(fastest(budget, table, null, table.slots, table.size))

    /** The same of the first [count] of some slots; with [prospects], by what is expected now instead of at rest. */
    internal fun fastest(budget: Budget, table: Table, prospects: Prospects?, slots: IntArray, count: Int): Int {
        val least = budget.minAccuracy ?: Double.NaN
        var best = -1
        var bestMs = 0.0
        for (pass in 0..1) { // those that are accurate enough, then any
            for (index in 0 until count) {
                val slot = slots[index]
                if (pass == 0 && table.root.accuracy[slot] < least) continue
                val ms = prospects?.expectedMs(slot) ?: table.latencyMs[slot]
                if (best < 0 || ms < bestMs || (ms == bestMs && table.at(slot).id < table.at(best).id)) {
                    best = slot
                    bestMs = ms
                }
            }
            if (best >= 0) return best
        }
        throw BadInput("The table of branches is empty; build a bundle with at least one.")
    }

    /** Whether an option keeps all limits of one inference on an idle device. */
    @JvmStatic
    public fun keepsIdle(option: Option, budget: Budget, table: Table): Boolean {
        val limitMs = budget.latencyMs
        if (limitMs != null && option.latencyMs > limitMs) return false
        return idleLimits(budget, table).keep(table, table.slot(option.id), Double.NaN)
    }

    /** The limits on an idle device of which nothing is known. */
    internal fun idleLimits(budget: Budget, table: Table): Limits {
        val limits = Limits()
        limits.set(budget, table, Context(0.0), 0.0, Settings(), null, Double.NaN, 0.0)
        return limits
    }

    /**
     * Refuses a budget that no branch keeps even on an idle device; the sentence names what the branches offer.
     *
     * The table holds latencies at the device's usual speed, so a device that is slow just now is no reason to refuse.
     *
     * @throws BadInput no branch keeps it.
     */
    @JvmStatic
    public fun checkFeasible(budget: Budget, table: Table) {
        if (table.options.any { keepsIdle(it, budget, table) }) return
        val offers = ArrayList<String>()
        val options = table.options
        if (budget.latencyMs != null && options.isNotEmpty()) {
            offers.add("the fastest takes ${Text.general(options.minOf { it.latencyMs }, 3)} ms")
        }
        if (budget.minAccuracy != null && options.isNotEmpty()) {
            offers.add("the most accurate reaches ${Text.general(options.maxOf { it.accuracy }, 4)}")
        }
        thriftiest(offers, budget.energyMj, options.mapNotNull { it.energyMj }, "energy mj")
        thriftiest(offers, budget.memoryMb, options.mapNotNull { it.memoryMb }, "memory mb")
        val wanted = budget.limits().entries.joinToString(", ") { "${it.key}=${Text.general(it.value)}" }
        throw BadInput(
            "No branch keeps the budget $wanted even on an idle device (${offers.joinToString("; ")}); loosen it.",
        )
    }

    private fun thriftiest(offers: MutableList<String>, limit: Double?, known: List<Double>, unit: String) {
        if (limit == null || known.isEmpty()) return
        offers.add("the thriftiest needs ${Text.general(known.min(), 3)} $unit")
    }
}

/**
 * The adaptive policy: the most accurate branch, then the fastest, whose bounds keep every limit of the budget; with
 * hysteresis upwards.
 *
 * A branch that no longer fits is left at once. A costlier one follows only after [Settings.dwellS], and only if it fits
 * with [Settings.headroom]. If nothing fits, the best of those serves that come late hardly more often than the one that
 * does so least, and the reason says so.
 *
 * Source: Wang et al., "AdaScale: Dynamic Context-aware DNN Scaling via Automated Adaptation Loop on Mobile Devices",
 * 2024.
 */
internal object Adaptive : Policy {
    override fun decide(
        context: Context, timeS: Double, budget: Budget, table: Table, state: State, settings: Settings,
        decision: Decision,
    ) {
        val prospects = state.prospects.look(context, timeS, budget, table, settings)
        val ranked = table.ranked
        var best = firstFitting(prospects, ranked, ranked.size, 1.0)
        if (best < 0) {
            leastLate(prospects, timeS, budget, table, settings, decision)
            return
        }
        val current = if (table.has(state.slot)) state.slot else -1
        if (current >= 0 && table.latencyMs[best] > table.latencyMs[current] && prospects.fits(current, 1.0)) {
            val since = timeS - state.sinceS
            if (since >= 0.0 && since < settings.dwellS) { // a clock that jumped back ends the dwell
                decision.take(table, current, "dwells", timeS, prospects.slowdown(current))
                return
            }
            val better = ranked.indexOf(current)
            best = firstFitting(prospects, ranked, if (better < 0) ranked.size else better, settings.headroom)
            if (best < 0) {
                decision.take(
                    table, current, "a better one would fit too tightly", timeS, prospects.slowdown(current),
                )
                return
            }
        }
        val limitMs = budget.latencyMs
        if (best == state.slot || limitMs == null) {
            decision.take(table, best, "best that fits", timeS, prospects.slowdown(best))
        } else {
            decision.fits(
                table, best, timeS, prospects.slowdown(best), prospects.boundMs(best), limitMs, prospects.miss(best),
            )
        }
    }

    /** The first of the better options that fits with a share of the limits of time; -1 for none. */
    private fun firstFitting(prospects: Prospects, ranked: IntArray, count: Int, share: Double): Int {
        for (index in 0 until count) if (prospects.fits(ranked[index], share)) return ranked[index]
        return -1
    }

    /**
     * The decision where nothing fits: what no choice avoids is not held against a branch.
     *
     * Of the options that keep all other limits, the best one that comes late hardly more often than the one that does
     * so least: by half of the share that is allowed. If there are none, or all would be late, the fastest.
     */
    private fun leastLate(
        prospects: Prospects, timeS: Double, budget: Budget, table: Table, settings: Settings, decision: Decision,
    ) {
        val ranked = table.ranked
        var floor = 1.0
        var allowed = 0
        for (index in ranked.indices) {
            if (!prospects.allowed(ranked[index])) continue
            val miss = prospects.miss(ranked[index])
            floor = if (allowed++ == 0) miss else Math.min(floor, miss)
        }
        if (floor < 1.0) {
            val near = floor + settings.misses / 2
            for (index in ranked.indices) {
                val slot = ranked[index]
                if (prospects.allowed(slot) && prospects.miss(slot) <= near) {
                    decision.take(table, slot, "nothing fits: least often late", timeS, prospects.slowdown(slot))
                    return
                }
            }
        }
        val safe = if (allowed == 0) {
            Policies.fastest(budget, table, prospects, table.slots, table.size)
        } else {
            Policies.fastest(budget, table, prospects, prospects.allowedOf(ranked), allowed)
        }
        decision.take(table, safe, "nothing fits: the fastest", timeS, prospects.slowdown(safe))
    }
}
