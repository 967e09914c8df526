package io.adascale.policies

import io.adascale.seams.Context

/** A place of habits: what an engine does at a level of crowding. */
public data class Place(public val engine: Engine, public val level: Int)

/** A slowdown that is told of an engine before anything has run on it, and when it held, in seconds. */
public data class Told(public val slowdown: Double, public val timeS: Double)

/**
 * What a policy keeps between inferences. Updated in place, by one thread at a time, and without garbage.
 *
 * @param table the session's table; every later one has the same root.
 * @param habits what is known of the device from earlier sessions.
 * @param told what is told of engines just now.
 */
public class State @JvmOverloads constructor(
    table: Table,
    habits: Map<Place, Excesses> = emptyMap(),
    told: Map<Engine, Told> = emptyMap(),
) {
    /** The table of all options, whose slots this state speaks of. */
    public val root: Table = table.root

    private val engines: Array<Engine> = root.engines.toTypedArray()
    internal val windows: Array<Window> = Array(engines.size) { Window() }
    internal val excesses: Array<Excesses> = Array(engines.size) { Excesses() }
    private val habits: Array<Excesses> = Array(engines.size * LEVELS) { Excesses() }
    private val known = BooleanArray(engines.size * LEVELS)
    private val corrections: Array<Correction> = Array(root.size) { Correction() }
    private val caps = DoubleArray(engines.size)

    /** Habits of engines that this session does not have, which it keeps for the next one. */
    private val others = LinkedHashMap<Place, Excesses>()

    /** How many times the predicted energy an inference really takes, by engine. */
    internal val energies: DoubleArray = DoubleArray(engines.size) { 1.0 }

    /** What a decision is computed with. */
    internal val prospects: Prospects = Prospects(this)

    /** The slot of the option in use; -1 before the first decision. */
    internal var slot: Int = -1
        private set

    /** Since when it is in use, in seconds. */
    public var sinceS: Double = Double.NEGATIVE_INFINITY
        private set

    /** The mean time between inferences, in seconds; NaN before there are two. */
    public var periodS: Double = Double.NaN
        private set

    /** When the latest inference ended, in seconds; NaN before the first. */
    public var lastS: Double = Double.NaN
        private set

    /** The decayed count of inferences. */
    public var served: Double = 0.0
        private set

    /** The decayed count of those that came late. */
    public var late: Double = 0.0
        private set

    /** What the device draws without inferences, in mW, as a meter tells; NaN where none does. */
    public var restMw: Double = Double.NaN
        private set

    /** The decayed sum of what inferences drew, in mJ. */
    public var drawnMj: Double = 0.0
        private set

    /** The decayed sum of the time over which they drew it, in seconds. */
    public var drawnS: Double = 0.0
        private set

    /** The highest cap of the clock so far, in MHz; 0 before there is one. */
    public var capMhz: Double = 0.0
        private set

    /** Where the number of processes that want a core is going. */
    public val load: Trend = Trend()

    /** Where the temperature is going. */
    public val heat: Trend = Trend()

    init {
        for ((place, excesses) in habits) {
            val engine = engines.indexOf(place.engine)
            if (engine < 0) {
                others[place] = excesses
            } else {
                this.habits[engine * LEVELS + place.level].set(excesses)
                known[engine * LEVELS + place.level] = true
            }
        }
        begin(told)
    }

    /** The id of the option in use; null before the first decision. */
    public val branch: String? get() = if (slot < 0) null else root.at(slot).id

    /** The mean power of inferences above idle, in mW; NaN before it is known. */
    public val drawnMw: Double get() = if (drawnS > 0.0) drawnMj / drawnS else Double.NaN

    /** Begins anew: forgets all but the device's habits. */
    @JvmOverloads
    public fun begin(told: Map<Engine, Told> = emptyMap()) {
        slot = -1
        sinceS = Double.NEGATIVE_INFINITY
        periodS = Double.NaN
        lastS = Double.NaN
        served = 0.0
        late = 0.0
        restMw = Double.NaN
        drawnMj = 0.0
        drawnS = 0.0
        capMhz = 0.0
        load.clear()
        heat.clear()
        energies.fill(1.0)
        caps.fill(Double.NaN)
        corrections.forEach { it.clear() }
        excesses.forEach { it.clear() }
        for (engine in engines.indices) {
            windows[engine].clear()
            told[engines[engine]]?.let { windows[engine].begin(it.slowdown, it.timeS) }
        }
    }

    /** Remembers which option serves, and since when: call it when the option of a [decision] has answered. */
    public fun settle(decision: Decision) {
        if (decision.slot == slot) return
        slot = decision.slot
        sinceS = decision.timeS
    }

    /**
     * Learns from an inference.
     *
     * @param option what ran; one of the table's.
     * @param latencyMs what it took, in ms.
     * @param timeS when it ended, in seconds since the session's start.
     * @param settings how fast to learn.
     * @param late whether it missed its deadline.
     * @param context what the device had left when it began; null if nothing is known.
     */
    @JvmOverloads
    public fun observe(
        option: Option, latencyMs: Double, timeS: Double, settings: Settings, late: Boolean = false,
        context: Context? = null,
    ) {
        observe(root.slot(option.id), latencyMs, timeS, settings, late, context)
    }

    internal fun observe(
        slot: Int, latencyMs: Double, timeS: Double, settings: Settings, late: Boolean, context: Context?,
    ) {
        val engine = root.engine[slot]
        val place = engine * LEVELS + Pressure.crowding(context, engines[engine])
        if (context != null) follow(engine, timeS, settings, context)
        Pressure.seen(
            windows[engine], excesses[engine], habits[place], corrections[slot], slot, latencyMs,
            root.latencyMs[slot], timeS, settings.learning,
        )
        known[place] = true
        val first = lastS.isNaN()
        val step = if (first) 0.0 else Math.max(0.0, timeS - lastS)
        if (!first) periodS = if (periodS.isNaN()) step else periodS + 0.1 * (step - periodS)
        val keep = Math.exp(-step / settings.patienceS)
        val spentMj = Limits.energyOf(root, slot, energies)
        if (!spentMj.isNaN() && !first) { // of the first one nobody knows how long it is for
            drawnMj = drawnMj * keep + spentMj
            drawnS = drawnS * keep + step
        }
        lastS = timeS
        served = served * keep + 1
        this.late = this.late * keep + if (late) 1 else 0
    }

    /** Follows the clock's cap, load and temperature. */
    private fun follow(engine: Int, timeS: Double, settings: Settings, context: Context) {
        val cap = context.clockCapMhz
        if (cap != null && settings.clock > 1.0 && engines[engine].preempted) {
            val factor = Pressure.throttled(capOf(engine), cap, settings.clock)
            if (factor > 1.0) windows[engine].slower(factor)
            capMhz = Math.max(capMhz, cap)
            caps[engine] = cap
        }
        if (settings.forecastS > 0.0) {
            val crowd = Pressure.crowd(context)
            if (!crowd.isNaN()) load.follow(crowd, timeS, Trend.LOAD_S)
            val temperature = context.temperatureC
            if (temperature != null) heat.follow(temperature, timeS, Trend.HEAT_S)
        }
    }

    /**
     * Takes in what the energy audit told.
     *
     * @param energies how many times the predicted energy inferences really take, by `delegate x threads`; what is not
     * possible is left out.
     * @param restMw what the device draws without inferences, in mW; null where it is not known.
     */
    public fun audited(energies: Map<String, Double>, restMw: Double?) {
        this.energies.fill(1.0)
        for ((name, factor) in energies) {
            val engine = engines.indexOf(Engine.parse(name) ?: continue)
            if (engine >= 0 && Limits.possible(factor)) this.energies[engine] = factor
        }
        this.restMw = restMw ?: Double.NaN
    }

    /** Remembers that a branch was taken out. */
    public fun forget(branch: String) {
        if (this.branch == branch) slot = -1
    }

    /** What is known of the device, for the next session; copies. */
    public fun habits(): Map<Place, Excesses> {
        val all = LinkedHashMap<Place, Excesses>(others)
        for (index in habits.indices) {
            if (!known[index]) continue
            val had = habits[index]
            all[Place(engines[index / LEVELS], index % LEVELS)] = Excesses.of(had.counts(), had.exposureMs)
        }
        return all
    }

    /** All that is remembered, as plain JSON values; a copy. */
    public fun snapshot(): Map<String, Any?> = PolicyJson.toJson(this)

    /** How fast an engine of the table was lately; live. */
    public fun window(engine: Engine): Window? = windows.getOrNull(engines.indexOf(engine))

    /** The excesses of an engine of the table lately; live. */
    public fun excesses(engine: Engine): Excesses? = excesses.getOrNull(engines.indexOf(engine))

    /** How an option of the table differs from the others; live. */
    public fun correction(option: Option): Correction? = corrections.getOrNull(root.slot(option.id))

    internal fun engine(index: Int): Engine = engines[index]

    internal fun habit(engine: Int, level: Int): Excesses = habits[engine * LEVELS + level]

    internal fun correction(slot: Int): Correction = corrections[slot]

    /** The cap at which an engine's window was learned, else the highest one, in MHz. */
    internal fun capOf(engine: Int): Double = if (caps[engine].isNaN()) capMhz else caps[engine]

    private companion object {
        const val LEVELS = Pressure.UNKNOWN + 1
    }
}
