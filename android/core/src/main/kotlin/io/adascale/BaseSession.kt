// What every kind of session has: options that are ready, a state, a monitor, a door for inputs, a trace, an end.
package io.adascale

import io.adascale.device.Monitor
import io.adascale.engines.Opener
import io.adascale.engines.Room
import io.adascale.engines.Runner
import io.adascale.files.Unwritable
import io.adascale.policies.Engine
import io.adascale.policies.Habits
import io.adascale.policies.Limits
import io.adascale.policies.PolicyJson
import io.adascale.policies.State
import io.adascale.policies.Table
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import io.adascale.seams.Context
import io.adascale.seams.Event
import io.adascale.seams.Header
import io.adascale.seams.Traces
import java.io.Closeable
import java.io.File
import java.nio.FloatBuffer
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone

/**
 * What [Session] and [CascadeSession] share. Thread-safe, one inference at a time. Close it: what LiteRT holds is no
 * business of the garbage collector.
 *
 * @property bundle The bundle.
 * @property budget What is kept.
 */
public abstract class BaseSession internal constructor(
    public val bundle: Bundle, public val budget: Budget, opener: Opener, private val options: SessionOptions,
) : Closeable {
    /** Limits that are not kept because the device does not report what they are on ([SessionOptions.bestEffort]). */
    public val ignored: List<String>

    internal val settings = options.settings
    internal val ready: Ready
    internal val state: State
    internal val latest = Latest()
    private val engines: List<Engine>
    private val monitor: Monitor
    private val habits = options.habits?.let { HabitsFile(it, options.device) }
    private val lock = Any()
    private val inputSize: Int

    private var startNs = System.nanoTime()
    private var told: Context? = null
    private var failed: List<String> = emptyList()
    private var wrapped: FloatBuffer = FloatBuffer.allocate(0)
    private var output = FloatArray(0)
    private val recording = Recording()
    private var closed = false

    init {
        val branches = bundle.manifest.branches
        for (branch in branches) {
            if (branch.input.shape != branches[0].input.shape) {
                throw BadBundle(
                    "The branches '${branches[0].id}' and '${branch.id}' take inputs of different shapes; build the " +
                        "bundle again.",
                )
            }
        }
        inputSize = branches[0].input.shape.fold(1) { product, one -> product * one }
        if (options.delegates.isEmpty() || options.threads.isEmpty()) {
            throw BadInput("A session needs at least one delegate and one number of threads.")
        }
        engines = options.delegates.flatMap { delegate -> options.threads.map { Engine(delegate, it) } }
        checkEnergy()
        monitor = Monitor(options.signals)
        ignored = Limits.checkSignals(budget, monitor.latest, options.bestEffort)
        ready = Ready(bundle, budget, opener, engines, options, Room(settings.reserveMb) { monitor.memoryFreeMb() })
        state = State(ready.table, habits?.recall().orEmpty())
        monitor.start()
    }

    /** The options that may be chosen: branches on engines, with what they cost at rest. */
    public val table: Table get() = ready.table

    /** Why options could not be opened, by id; a copy. */
    public val broken: Map<String, String> get() = synchronized(lock) { LinkedHashMap(ready.broken) }

    /** What the options that are ready hold, in MB, as far as that is known. */
    public val heldMb: Double get() = ready.heldMb()

    /** What the latest inference took, in ms; of [last] it is the only fact that costs nothing to read. */
    public val latencyMs: Double get() = synchronized(lock) { latest.latencyMs }

    /** The event of the latest inference, which is made when it is asked for; null before the first. */
    public val last: Event? get() = synchronized(lock) { latest.event() }

    /** What a user should know before the first inference: options that are left out, limits that are ignored. */
    public fun warnings(): List<String> = broken.map { "${it.key} is left out: ${it.value}" } +
        ignored.map { "The limit $it is ignored: this device does not report ${Limits.noun(it)}." }

    /**
     * Answers one input; [last] then says by which branch, why, and how long it took.
     *
     * @param input a preprocessed input of the branches' shape.
     * @param phase a label for the event, such as "idle".
     * @return the output of the branch that answered, real-valued: an array that the next inference overwrites.
     * @throws BadInput the input has another size, or holds numbers that are not finite.
     * @throws AdaScaleError no branch can answer on this device, or the session is closed.
     */
    @JvmOverloads
    public fun predict(input: FloatArray, phase: String? = null): FloatArray = synchronized(lock) {
        if (wrapped.array() !== input) wrapped = FloatBuffer.wrap(input)
        answer(wrapped, null, phase)
    }

    /**
     * Answers one input, as the other function does.
     *
     * @param input as many numbers as an input has, from its position on, which is the same afterwards; direct buffers
     * in the machine's order are read fastest.
     * @param output takes the output; at least as many numbers as that has.
     * @return [output].
     */
    @JvmOverloads
    public fun predict(input: FloatBuffer, output: FloatArray, phase: String? = null): FloatArray =
        synchronized(lock) { answer(input, output, phase) }

    private fun answer(input: FloatBuffer, output: FloatArray?, phase: String?): FloatArray {
        if (input.remaining() != inputSize) {
            throw BadInput("The input should have $inputSize numbers, not ${input.remaining()}.")
        }
        checkOpen()
        latest.begin()
        latest.phase = phase
        val answer = serve(input, output)
        if (recording.active) recording.write(latest.event())
        return answer
    }

    /** Answers an input of the right size, and fills [latest]; the lock is held. */
    internal abstract fun serve(input: FloatBuffer, output: FloatArray?): FloatArray

    /** Forgets what was observed and begins to count time anew; branches that were taken out stay out. */
    public fun restart() {
        synchronized(lock) { forget() }
    }

    internal open fun forget() {
        startNs = System.nanoTime()
        told = null
        failed = emptyList()
        latest.clear()
        state.begin()
    }

    /**
     * Begins anew, and writes a trace from now on, until [stopRecording] or the end: a line for every inference, in the
     * format `adascale-events/1`. If the disk is full later, inferences go on, and [stopRecording] tells.
     *
     * @throws Unwritable the file cannot be written.
     */
    public fun record(file: File) {
        synchronized(lock) {
            checkOpen()
            recording.finish()
            forget()
            recording.start(file, header())
        }
    }

    /**
     * Finishes the trace, if one is being written.
     *
     * @throws Unwritable the trace could not be written to its end.
     */
    public fun stopRecording() {
        synchronized(lock) { recording.stop() }
    }

    /** The first line of a trace: what this session decides with now. */
    public fun header(): Header = synchronized(lock) {
        val format = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT)
        format.timeZone = TimeZone.getTimeZone("UTC")
        Header(
            format = Traces.FORMAT,
            bundle = bundle.digest,
            budget = budget.limits(),
            delegate = options.delegates.joinToString("+"),
            threads = options.threads[0],
            started = format.format(Date()),
            table = PolicyJson.toJson(table),
            settings = PolicyJson.toJson(settings),
            habits = Habits.toJson(state.habits()),
        )
    }

    /**
     * Gives back all branches and ends the monitor, at once. An inference that runs in another thread is waited for.
     * What was learned of the device is kept in [SessionOptions.habits]. Closing twice is harmless.
     */
    override fun close() {
        monitor.close()
        val learned = synchronized(lock) {
            if (closed) return
            closed = true
            recording.finish()
            ready.close()
            state.habits()
        }
        habits?.keep(learned)
    }

    internal fun checkOpen() {
        if (closed) throw AdaScaleError("The session is closed; open another.")
        ready.check()
    }

    /** The newest snapshot of the device. */
    internal fun snapshot(): Context = monitor.latest

    /** Seconds since the start at a time of [System.nanoTime], rounded as they stand in a trace. */
    internal fun seconds(ns: Long): Double = Math.rint(1e-3 * (ns - startNs)) / 1e6

    /** Notes what the event tells that earlier ones did not: options that were taken out, and the context if it is new. */
    internal fun news(snapshot: Context) {
        latest.failed = failed
        latest.context = if (snapshot === told) null else snapshot
        told = snapshot
        failed = emptyList()
    }

    /** Takes an option out for good. */
    internal fun leaveOut(key: String) {
        if (key !in ready.broken) ready.broken[key] = "It failed, or answered a number that is not finite."
        failed = failed + key
        state.forget(key)
        ready.leaveOut(key)
    }

    /**
     * The output of a runner, or null if it fails or answers a NaN or an infinity.
     *
     * @throws BadInput the input itself is not finite: no branch can answer that, so none is to blame.
     */
    internal fun ask(runner: Runner, input: FloatBuffer, given: FloatArray?): FloatArray? {
        val size = runner.outputSize
        if (given != null && given.size < size) throw BadInput("The output has $size numbers, not ${given.size}.")
        if (given == null && output.size != size) output = FloatArray(size)
        val answer = given ?: output
        try {
            runner.run(input, answer)
            if (runner.finite || finite(answer, size)) return answer
        } catch (_: RuntimeException) {
            // What failed is judged below.
        }
        var sum = 0.0
        for (index in 0 until inputSize) sum += input.get(input.position() + index)
        if (sum.isNaN() || sum.isInfinite()) {
            throw BadInput("The input holds numbers that are not finite; look at its preprocessing.")
        }
        return null
    }

    private fun finite(values: FloatArray, count: Int): Boolean {
        var sum = 0.0
        for (index in 0 until count) sum += values[index]
        return !sum.isNaN() && !sum.isInfinite()
    }

    private fun checkEnergy() {
        val limit = Limits.onEnergy(budget).firstOrNull() ?: return
        for (engine in engines) {
            if (options.predictors?.find("energy_mj", engine.delegate, engine.threads) == null) {
                throw BadInput(
                    "A budget of $limit needs an energy predictor for ${engine.delegate} with ${engine.threads} " +
                        "threads; give a file of 'adascale fit'.",
                )
            }
        }
    }
}
