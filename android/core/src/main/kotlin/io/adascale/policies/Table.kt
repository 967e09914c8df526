package io.adascale.policies

import io.adascale.BadInput

/**
 * The options that a policy may choose from. Immutable.
 *
 * A session has one table of all its options. What is left when some cannot be chosen is a table of the same *root*, and
 * an option has the same *slot* in both: its place in the root. A [State] belongs to a root.
 */
public class Table private constructor(
    /** The options, in the session's order. */
    public val options: List<Option>,
    root: Table?,
    /** The slot of each option. */
    internal val slots: IntArray,
) {
    /**
     * A session's table.
     *
     * @throws BadInput two options have the same id.
     */
    public constructor(options: List<Option>) : this(ArrayList(options), null, IntArray(options.size) { it }) {
        val seen = HashSet<String>()
        for (option in options) {
            if (!seen.add(option.id)) throw BadInput("The table has the branch '${option.id}' twice; name each once.")
        }
    }

    /** The table of all of the session's options. */
    public val root: Table = root ?: this

    /** How many options there are. */
    public val size: Int get() = options.size

    /** The engines of the root's options, each once. */
    public val engines: List<Engine> = root?.engines ?: ArrayList(LinkedHashSet(options.map { it.engine }))

    // By slot; only the root has its own. NaN where an amount is not known.
    internal val accuracy: DoubleArray = root?.accuracy ?: DoubleArray(size) { options[it].accuracy }
    internal val latencyMs: DoubleArray = root?.latencyMs ?: DoubleArray(size) { options[it].latencyMs }
    internal val energyMj: DoubleArray = root?.energyMj ?: DoubleArray(size) { options[it].energyMj ?: Double.NaN }
    internal val memoryMb: DoubleArray = root?.memoryMb ?: DoubleArray(size) { options[it].memoryMb ?: Double.NaN }
    internal val engine: IntArray = root?.engine ?: IntArray(size) { engines.indexOf(options[it].engine) }

    private val there = BooleanArray(this.root.size).also { mask -> for (slot in slots) mask[slot] = true }

    /** The slots that a decision on latency has to look at, better options first; see [ranking]. */
    internal val ranked: IntArray = ranked()

    /** The slots of options, the fastest first. */
    internal val byLatency: IntArray = sorted { a, b ->
        if (a.latencyMs != b.latencyMs) a.latencyMs.compareTo(b.latencyMs) else a.id.compareTo(b.id)
    }

    /** The slots of options by their ids. */
    internal val byId: IntArray = sorted { a, b -> a.id.compareTo(b.id) }

    /** Whether the option of that slot is in this table. */
    internal fun has(slot: Int): Boolean = slot >= 0 && there[slot]

    /** The option of that slot. */
    internal fun at(slot: Int): Option = root.options[slot]

    /** The slot of the option of that id; -1 for none. */
    internal fun slot(id: String?): Int {
        for (index in options.indices) if (options[index].id == id) return slots[index]
        return -1
    }

    /** The option of that id, or null. */
    public fun find(id: String?): Option? = options.firstOrNull { it.id == id }

    /** What is left without the options of these ids; this table if that is all. */
    public fun without(ids: Collection<String>): Table {
        val left = options.indices.filter { options[it].id !in ids }
        if (left.size == size) return this
        return Table(left.map { options[it] }, root, IntArray(left.size) { slots[left[it]] })
    }

    /**
     * The options that a decision on latency has to look at, better ones first.
     *
     * An option is left out if a better one on the same engine is at least as fast and needs no more energy and memory:
     * whatever limit that one breaks, this one breaks, too.
     */
    public fun ranking(): List<Option> = ranked.map { at(it) }

    private fun ranked(): IntArray {
        val kept = ArrayList<Option>()
        for (option in options.sortedWith(Option.RANK)) {
            if (kept.none { replaces(it, option) }) kept.add(option)
        }
        return IntArray(kept.size) { slot(kept[it].id) }
    }

    private fun sorted(order: Comparator<Option>): IntArray {
        val ordered = options.sortedWith(order)
        return IntArray(size) { slot(ordered[it].id) }
    }

    /** Whether a better option does whatever another one can do. */
    private fun replaces(better: Option, option: Option): Boolean {
        if (better.engine != option.engine || better.latencyMs > option.latencyMs) return false
        return noMore(better.energyMj, option.energyMj) && noMore(better.memoryMb, option.memoryMb)
    }

    private fun noMore(mine: Double?, theirs: Double?): Boolean =
        if (mine == null) theirs == null else theirs != null && mine <= theirs
}
