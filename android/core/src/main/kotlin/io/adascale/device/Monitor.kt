// What a device tells of itself, and the thread that asks it.
package io.adascale.device

import io.adascale.seams.Context
import java.io.Closeable

/** Where the context of a device comes from. Called by one thread at a time. */
public interface Signals {
    /**
     * What the device has left now; null in it for what the device does not tell.
     *
     * @param timeS the time that the context should have, in seconds.
     */
    public fun sample(timeS: Double): Context

    /** Memory that this process can have just now, in MB (10^6 bytes); NaN where nobody tells. From any thread. */
    public fun memoryFreeMb(): Double
}

/** Of a device that tells nothing. */
public object NoSignals : Signals {
    override fun sample(timeS: Double): Context = Context(timeS)

    override fun memoryFreeMb(): Double = Double.NaN
}

/**
 * Samples a context again and again in a thread of its own; [latest] only reads a field.
 *
 * @param signals what is asked; a sample that fails leaves the one before it.
 * @param periodS the time between samples, in seconds.
 */
public class Monitor @JvmOverloads constructor(
    private val signals: Signals, private val periodS: Double = 0.1,
) : Closeable {
    private val startNs = System.nanoTime()
    private var thread: Thread? = null

    /** The newest snapshot; its time counts from the monitor's creation. */
    @Volatile
    public var latest: Context = signals.sample(0.0)
        private set

    /** Begins to sample. */
    @Synchronized
    public fun start() {
        if (thread != null) return
        val made = Thread({ watch() }, "adascale-monitor")
        made.isDaemon = true
        thread = made
        made.start()
    }

    /** See [Signals.memoryFreeMb]. */
    public fun memoryFreeMb(): Double = try {
        signals.memoryFreeMb()
    } catch (_: RuntimeException) {
        Double.NaN
    }

    /** Ends sampling; [latest] stays. */
    @Synchronized
    override fun close() {
        thread?.interrupt()
        thread = null
    }

    private fun watch() {
        while (true) {
            try {
                Thread.sleep((1e3 * periodS).toLong())
            } catch (_: InterruptedException) {
                return
            }
            try {
                latest = signals.sample(1e-9 * (System.nanoTime() - startNs))
            } catch (_: RuntimeException) {
                // A file that could not be read this time may be read the next.
            }
        }
    }
}
