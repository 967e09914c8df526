package io.adascale

import io.adascale.policies.Decision
import io.adascale.policies.Option
import io.adascale.policies.Verdicts
import io.adascale.seams.Context
import io.adascale.seams.Event

/** The latest inference, in fields that every inference overwrites: its event is made when somebody asks for it. */
internal class Latest {
    var timeS = 0.0
    var endedS = 0.0
    var decideMs = 0.0
    var switchMs = 0.0
    var latencyMs = 0.0
    var baseMs = 0.0
    var slowdown = 1.0
    var switched = false
    var option: Option? = null

    /** Why it was chosen: in words, or where the policy has put it. */
    var words: String? = null
    var decision: Decision? = null
    var failed: List<String> = emptyList()
    var absent: List<String> = emptyList()
    var phase: String? = null

    /** What the device had left, where that is news. */
    var context: Context? = null
    val verdicts = Verdicts()
    private var event: Event? = null

    /** Begins another inference. */
    fun begin() {
        event = null
    }

    /** Forgets it. */
    fun clear() {
        event = null
        option = null
    }

    /** Its event; null before the first. */
    fun event(): Event? {
        val option = this.option ?: return null
        val made = event ?: Event(
            timeS = timeS,
            endedS = endedS,
            branch = option.id,
            reason = words ?: decision?.reason.orEmpty(),
            switched = switched,
            decideMs = decideMs,
            switchMs = switchMs,
            latencyMs = latencyMs,
            baseMs = baseMs,
            slowdown = slowdown,
            kept = verdicts.kept,
            failed = failed,
            phase = phase,
            context = context,
            absent = absent,
            broken = verdicts.broken(),
        )
        event = made
        return made
    }
}
