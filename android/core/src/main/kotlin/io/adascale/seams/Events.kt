// Events of the adaptive loop: context, decision and its reason, latency, whether the budget was met.
package io.adascale.seams

/**
 * First line of a trace: under which conditions it was recorded.
 *
 * @property format [Traces.FORMAT].
 * @property bundle The bundle's digest.
 * @property budget The limits that were set, by name.
 * @property delegate The delegates, joined by `+`.
 * @property threads The usual number of threads.
 * @property started The time of the start, in ISO 8601.
 * @property table The options at the start by id, as plain JSON.
 * @property settings The policy's settings, as plain JSON.
 * @property habits What was known of the device, as plain JSON.
 * @property told What the anchors told of engines when the session opened, as plain JSON.
 */
public data class Header @JvmOverloads constructor(
    val format: String,
    val bundle: String,
    val budget: Map<String, Double>,
    val delegate: String,
    val threads: Int,
    val started: String,
    val table: Map<String, Any?> = emptyMap(),
    val settings: Map<String, Any?> = emptyMap(),
    val habits: Map<String, Any?> = emptyMap(),
    val told: Map<String, Any?> = emptyMap(),
)

/**
 * What a meter told of the device and of predictions of energy.
 *
 * @property restMw What the device draws without inferences, in mW; null where it is not known.
 * @property energies How many times the predicted energy inferences really take, by `delegate x threads`.
 */
public data class Audit @JvmOverloads constructor(
    val restMw: Double? = null,
    val energies: Map<String, Double> = emptyMap(),
)

/**
 * One inference.
 *
 * @property timeS When the decision was taken, in seconds since the loop's start.
 * @property endedS When the output had been read, in seconds since the loop's start.
 * @property branch The option that answered.
 * @property reason Why it was chosen.
 * @property switched Whether another option had answered before.
 * @property decideMs The time of the decision.
 * @property switchMs The time of decision plus switch.
 * @property latencyMs The time from the input to the output that has been read.
 * @property baseMs The option's idle latency.
 * @property slowdown The slowdown that the policy expected; times [baseMs] it was the expected latency.
 * @property kept Whether every limit of the budget was kept.
 * @property correct Whether the answer was right; null where that is not known.
 * @property failed Options that were taken out since the event before.
 * @property phase A label of the experiment, such as "idle" or "loaded".
 * @property context What the device had left; null if it is that of the event before.
 * @property absent Options that could not be chosen because they were still being prepared.
 * @property broken The limits that were broken, by name, with how far, in the limit's unit.
 * @property audit What the energy audit told; null if it is what it told the event before, or there is no audit.
 */
public data class Event @JvmOverloads constructor(
    val timeS: Double,
    val endedS: Double,
    val branch: String,
    val reason: String,
    val switched: Boolean,
    val decideMs: Double,
    val switchMs: Double,
    val latencyMs: Double,
    val baseMs: Double,
    val slowdown: Double,
    val kept: Boolean,
    val correct: Boolean? = null,
    val failed: List<String> = emptyList(),
    val phase: String? = null,
    val context: Context? = null,
    val absent: List<String> = emptyList(),
    val broken: Map<String, Double> = emptyMap(),
    val audit: Audit? = null,
) {
    /** The same event, judged. */
    public fun withCorrect(correct: Boolean): Event = copy(correct = correct)
}

/** The header and the events of a trace. */
public data class Trace(val header: Header, val events: List<Event>)
