package io.adascale.policies

import io.adascale.engines.Registry

/**
 * A delegate with a number of threads, which is slowed down as a whole.
 *
 * @property delegate the delegate's name.
 * @property threads on how many threads it runs.
 */
public data class Engine(public val delegate: String, public val threads: Int) {
    /** Whether other processes take its time away. */
    public val preempted: Boolean = Registry.preempted(delegate)

    /** The engine in files: `delegate x threads`. */
    public val name: String get() = "$delegate x $threads"

    public companion object {
        private const val BETWEEN = " x "

        /** The engine of that name; null if it is none. */
        @JvmStatic
        public fun parse(name: String): Engine? {
            val at = name.indexOf(BETWEEN)
            if (at <= 0) return null
            val threads = Digits.parse(name.substring(at + BETWEEN.length)) ?: return null
            return Engine(name.substring(0, at), threads)
        }
    }
}

/** Whole numbers in names, of one to four digits. */
internal object Digits {
    fun parse(text: String): Int? =
        if (text.isNotEmpty() && text.length < 5 && text.all { Character.isDigit(it) }) text.toInt() else null
}

/**
 * A branch on an engine, as the policy sees it: what it costs on an idle device, at its usual speed.
 *
 * @property id the branch's id on the first engine, `branch@delegatexTHREADS` on others.
 * @property accuracy the share of inputs that it answers correctly, in [0, 1].
 * @property latencyMs the latency of an inference at rest, in ms; on CPUs at the device's usual speed, as far as that
 * is known.
 * @property energyMj the energy of an inference, in mJ; null where it is not known.
 * @property memoryMb the memory while it is ready, in MB; null where it is not known.
 * @property delegate what executes it.
 * @property threads on how many threads.
 */
public data class Option @JvmOverloads constructor(
    public val id: String,
    public val accuracy: Double,
    public val latencyMs: Double,
    public val energyMj: Double? = null,
    public val memoryMb: Double? = null,
    public val delegate: String = "cpu",
    public val threads: Int = 1,
) {
    /** What runs it. */
    public val engine: Engine get() = Engine(delegate, threads)

    public companion object {
        /** Better branches sort first: more accurate, then faster, then by id. */
        @JvmField
        public val RANK: Comparator<Option> = Comparator { a, b ->
            when {
                a.accuracy != b.accuracy -> if (a.accuracy > b.accuracy) -1 else 1
                a.latencyMs != b.latencyMs -> if (a.latencyMs < b.latencyMs) -1 else 1
                else -> a.id.compareTo(b.id)
            }
        }
    }
}
