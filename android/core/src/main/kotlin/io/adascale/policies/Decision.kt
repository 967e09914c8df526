package io.adascale.policies

import io.adascale.Text

/**
 * What a policy decides for the next inference. A session has one, which every decision fills anew.
 *
 * The reason is put into words when it is asked for.
 */
public class Decision {
    private var chosen: Option? = null
    private var words: String? = null
    private var boundMs = 0.0
    private var limitMs = 0.0
    private var miss = 0.0

    /** The slot of the option that serves. */
    internal var slot: Int = -1
        private set

    /** When it was decided, in seconds since the session's start. */
    public var timeS: Double = 0.0
        private set

    /** The latency that is expected over the idle one. */
    public var slowdown: Double = 1.0
        private set

    /** The option that serves. */
    public val option: Option get() = checkNotNull(chosen) { "Nothing was decided yet." }

    /** Its id. */
    public val branch: String get() = option.id

    /** Why, in a few words. */
    public val reason: String
        get() = words ?: written().also { words = it }

    /**
     * Decides.
     *
     * @param table the options that could be chosen.
     * @param option the one that serves.
     * @param reason why, in a few words.
     * @param timeS when, in seconds since the session's start.
     * @param slowdown the latency that is expected over the idle one.
     */
    @JvmOverloads
    public fun take(table: Table, option: Option, reason: String, timeS: Double, slowdown: Double = 1.0) {
        take(table, table.slot(option.id), reason, timeS, slowdown)
    }

    internal fun take(table: Table, slot: Int, reason: String, timeS: Double, slowdown: Double) {
        this.slot = slot
        this.timeS = timeS
        this.slowdown = slowdown
        chosen = table.at(slot)
        words = reason
    }

    /** Decides for an option that fits, by its bound and how probably it comes late. */
    internal fun fits(
        table: Table, slot: Int, timeS: Double, slowdown: Double, boundMs: Double, limitMs: Double, miss: Double,
    ) {
        take(table, slot, "", timeS, slowdown)
        words = null
        this.boundMs = boundMs
        this.limitMs = limitMs
        this.miss = miss
    }

    private fun written(): String = "fits: " + Formats.fixed(boundMs, 2) + " of " + Text.general(limitMs) + " ms, " +
        Formats.percent(miss, 1) + " late"
}
