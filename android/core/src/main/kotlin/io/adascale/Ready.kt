// The options of a bundle on this device: opened, timed, kept loaded within a memory limit.
package io.adascale

import io.adascale.engines.Opener
import io.adascale.engines.Openers
import io.adascale.engines.Room
import io.adascale.engines.Runner
import io.adascale.engines.Warm
import io.adascale.policies.Engine
import io.adascale.policies.Option
import io.adascale.policies.Policies
import io.adascale.policies.Table
import io.adascale.seams.Branch
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import io.adascale.seams.Context
import io.adascale.seams.Predictors

/**
 * Options by id: the branches of a bundle on each engine, and what runs them. One caller at a time.
 *
 * All are opened once, to be timed: the smallest first, then together what fits into the device's memory, the rest in
 * further groups. What does not fit beside the smallest is left out. What exceeds the limit of memory together is given
 * up again, as is the least recently used when the device runs short of memory; it is opened in the background when it
 * is wanted and fits. Latencies are those of this moment.
 *
 * @param engines delegates with numbers of threads, the usual one first.
 * @param room the device's memory.
 * @throws AdaScaleError no branch can be opened.
 * @throws BadInput no option keeps the budget even on an idle device.
 */
internal class Ready(
    private val bundle: Bundle, budget: Budget, private val opener: Opener, private val engines: List<Engine>,
    private val options: SessionOptions, private val room: Room,
) {
    private val keys = LinkedHashMap<String, Pair<Branch, Engine>>()
    private val sizesMb = HashMap<String, Double>()

    /** Why options could not be opened, or are no longer there, by id. */
    val broken = LinkedHashMap<String, String>()

    /** The options that may be chosen; from any thread. */
    @Volatile
    var table: Table
        private set

    /** Those that are ready or that the device's memory has room for, and the ids of the others; see [look]. */
    var possible: Table
        private set
    var absent: List<String> = emptyList()
        private set
    private val warm: Warm
    private var allFailed = false
    private var snapshot: Context? = null

    init {
        for (engine in engines) {
            Openers.check(opener, engine.delegate)
            for (branch in bundle.manifest.branches) {
                val key = if (engine == engines[0]) branch.id else "${branch.id}@${engine.delegate}x${engine.threads}"
                keys[key] = Pair(branch, engine)
                sizesMb[key] = memoryMb(branch, options.predictors, engine)
            }
        }
        val latencies = HashMap<String, Double>()
        val runners = openAll(latencies)
        try {
            table = Table(keys.keys.filter { it in latencies }.map { option(it, latencies.getValue(it)) })
            Policies.checkFeasible(budget, table)
            possible = table
            val safe = Policies.fallback(budget, table).id
            warm = Warm({ open(it) }, sizesMb, options.warmMb ?: Double.NaN, safe, room)
            if (safe !in runners) runners[safe] = open(safe) // it was timed in an earlier group
            // The best are the most recently used.
            for (option in table.options.sortedWith(Option.RANK).reversed()) {
                runners.remove(option.id)?.let { warm.put(option.id, it) }
            }
        } catch (error: Throwable) {
            runners.values.forEach { it.close() }
            throw error
        }
        runners.values.forEach { it.close() } // they could not be timed
    }

    /** What runs an option, if it is ready; nobody closes it before [release]. */
    fun take(key: String): Runner? = warm.take(key)

    /** The inference has ended. */
    fun release() {
        warm.release()
    }

    /** Whether an option could not be opened again; [broken] then says why. */
    fun failed(key: String): Boolean {
        broken[key] = warm.broken(key) ?: return false
        return true
    }

    /** Opens an option in the background, if it is not ready. */
    fun prepare(key: String) {
        warm.prepare(key)
    }

    /**
     * Looks at a snapshot of the device, once: [possible] and [absent] then tell what may be chosen.
     *
     * Where the device has less memory left than the reserve, options are given up; if that is not enough, the one that
     * serves is no longer possible. All are possible where nobody knows the memory.
     *
     * @param serving the option that answered last, which is not given up.
     */
    fun look(snapshot: Context, serving: String?) {
        if (snapshot === this.snapshot) return
        this.snapshot = snapshot
        val freeMb = snapshot.memoryFreeMb ?: Double.NaN
        val given = warm.giveWay(freeMb, serving)
        val left = if (!given && warm.inNeed(serving, freeMb)) serving else null // given up once another serves
        without(table.options.map { it.id }.filter { it == left || !warm.holds(it, freeMb) })
    }

    /** Keeps what is possible: the same objects as long as nothing changes. */
    private fun without(ids: List<String>) {
        val none = ids.isEmpty() || ids.size >= table.size
        if (none && possible === table) return
        if (!none && possible !== table && ids == absent) return
        possible = if (none) table else table.without(ids)
        absent = if (none) emptyList() else ids
    }

    /** The options that could run at once; null if there are none. */
    fun now(): Table? {
        val waiting = table.options.map { it.id }.filter { !warm.ready(it) }
        return if (waiting.size == table.size) null else table.without(waiting)
    }

    /** Keeps these options ready from now on, whatever memory they take, and no others. */
    fun only(ids: List<String>) {
        warm.only(ids)
    }

    /**
     * Takes an option out of the table for good.
     *
     * @throws AdaScaleError it was the last.
     */
    fun leaveOut(key: String) {
        warm.drop(key)
        allFailed = allFailed || table.size == 1
        check()
        val others = absent.filter { it != key }
        table = table.without(listOf(key))
        possible = table
        absent = emptyList()
        without(others)
    }

    /** Refuses to go on where every option was taken out. */
    fun check() {
        if (allFailed) throw AdaScaleError(ALL_FAIL)
    }

    /** What the options that are ready hold, in MB. */
    fun heldMb(): Double = warm.heldMb()

    /** Gives everything back; the table stays for reading. */
    fun close() {
        warm.close()
    }

    private fun open(key: String): Runner {
        val (branch, engine) = keys.getValue(key)
        return opener.open(options.models.model(bundle, branch), branch, engine.delegate, engine.threads)
    }

    private fun option(key: String, latencyMs: Double): Option {
        val (branch, engine) = keys.getValue(key)
        val energyMj = options.predictors?.predict("energy_mj", branch, engine.delegate, engine.threads)
        return Option(
            key, branch.accuracy.value, latencyMs, energyMj, sizesMb.getValue(key), engine.delegate, engine.threads,
        )
    }

    /** Opens and times all options that can be opened, in groups that fit into memory together; gives the last group. */
    private fun openAll(latencies: MutableMap<String, Double>): LinkedHashMap<String, Runner> {
        val runners = LinkedHashMap<String, Runner>()
        var waiting = ArrayList<String>(keys.keys)
        if (!room.freeMb().isNaN()) waiting.sortBy { sizesMb.getValue(it) }
        try {
            while (waiting.isNotEmpty()) {
                val later = ArrayList<String>()
                val group = LinkedHashMap<String, Runner>()
                for (key in waiting) {
                    if (runners.isNotEmpty() && !room.holds(sizesMb.getValue(key))) {
                        later.add(key)
                        continue
                    }
                    try {
                        val runner = open(key)
                        runners[key] = runner
                        group[key] = runner
                        if (!runner.memoryMb.isNaN()) sizesMb[key] = runner.memoryMb
                    } catch (error: RuntimeException) {
                        broken[key] = error.message ?: error.javaClass.simpleName
                    }
                }
                if (group.isEmpty()) {
                    for (key in later) broken[key] = tooLarge(sizesMb.getValue(key))
                    break
                }
                for ((key, ms) in Probing.probe(group)) if (key !in latencies) latencies[key] = ms
                for (key in group.keys) if (key !in latencies) broken[key] = "It fails when it is run."
                waiting = later
                if (later.isNotEmpty()) {
                    val first = runners.keys.first()
                    for (key in ArrayList(runners.keys)) if (key != first) runners.remove(key)?.close()
                }
            }
            if (latencies.isEmpty()) throw AdaScaleError("No branch can be opened: ${broken.values.firstOrNull()}")
        } catch (error: Throwable) {
            runners.values.forEach { it.close() }
            throw error
        }
        return runners
    }

    private fun tooLarge(sizeMb: Double): String = "It needs about ${Text.general(sizeMb)} MB, but only " +
        "${Text.general(room.freeMb())} MB are free, of which ${Text.general(room.reserveMb)} MB are kept in reserve."

    companion object {
        const val ALL_FAIL = "Every branch of the bundle fails on this device; build it for this device's delegates."

        /** What a branch is predicted to hold while it is ready, else an estimate: weights once, activations twice. */
        private fun memoryMb(branch: Branch, predictors: Predictors?, engine: Engine): Double =
            predictors?.predict("memory_mb", branch, engine.delegate, engine.threads)
                ?: ((branch.cost.weightBytes + 2 * branch.cost.peakBytes) / 1e6)
    }
}
