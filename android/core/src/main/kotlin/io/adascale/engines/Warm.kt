// The pool of open branches within a memory budget and within what the device has left: it closes the least recently
// used, and opens new ones aside.
package io.adascale.engines

import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.ThreadFactory

/**
 * Runners by option id. Thread-safe; the runner that [take] gave is not closed before [release].
 *
 * @param opened opens a runner.
 * @param sizesMb what each holds, in MB.
 * @param limitMb what all may hold together, in MB; NaN for no limit.
 * @param safe what is never given up.
 * @param room what the device has left: a runner is prepared only if it fits.
 */
internal class Warm(
    private val opened: (String) -> Runner,
    private val sizesMb: Map<String, Double>,
    private var limitMb: Double,
    private val safe: String,
    private val room: Room,
) {
    /** In the order of use, the latest last. */
    private val runners = LinkedHashMap<String, Runner>(16, 0.75f, true)
    private val preparing = LinkedHashSet<String>()

    /** When runners were given up, or not opened, for want of memory. */
    private val givenNs = HashMap<String, Long>()
    private val why = HashMap<String, String>()

    /** What runs an inference now, and what has to be closed after it. */
    private var taken: Runner? = null
    private var doomed: Runner? = null
    private var closed = false

    /** One thread opens and closes what nobody waits for; it is there from the first work on. */
    private val aside: ExecutorService = Executors.newSingleThreadExecutor(
        ThreadFactory { work -> Thread(work, "adascale-prepare").also { it.isDaemon = true } },
    )

    /** The runner if it is ready, which makes it the most recently used; nobody closes it before [release]. */
    @Synchronized
    fun take(key: String): Runner? {
        val runner = runners[key]
        taken = runner
        return runner
    }

    /** The inference has ended. */
    @Synchronized
    fun release() {
        taken = null
        val late = doomed ?: return
        doomed = null
        give(late)
    }

    /** Whether a runner could serve now. */
    @Synchronized
    fun ready(key: String): Boolean = runners.containsKey(key)

    /** Why a runner could not be opened; null if it could. */
    @Synchronized
    fun broken(key: String): String? = why[key]

    /** Keeps a runner that is open already. */
    @Synchronized
    fun put(key: String, runner: Runner) {
        runners[key] = runner
        makeRoom(key)
    }

    /** Gives a runner up, also one that is being opened. */
    @Synchronized
    fun drop(key: String) {
        preparing.remove(key)
        runners.remove(key)?.let { give(it) }
    }

    /** Opens a runner in the background; nothing happens if it is ready, broken or being opened. */
    @Synchronized
    fun prepare(key: String) {
        if (closed || runners.containsKey(key) || key in preparing || key in why) return
        preparing.add(key)
        aside.execute { open(key) }
    }

    private fun open(key: String) {
        if (!holds(key, room.freeMb())) {
            synchronized(this) {
                givenNs[key] = System.nanoTime()
                preparing.remove(key)
            }
            return
        }
        val runner = try {
            opened(key)
        } catch (error: Exception) { // whatever it is: nobody else would hear of it
            synchronized(this) {
                why[key] = error.message ?: error.javaClass.simpleName
                preparing.remove(key)
            }
            return
        }
        val wanted = synchronized(this) {
            (!closed && preparing.remove(key)).also { if (it) put(key, runner) } // else it was dropped meanwhile
        }
        if (!wanted) runner.close()
    }

    /** Whether a runner is ready, or may be prepared with so much memory free (MB), beside what is being opened. */
    @Synchronized
    fun holds(key: String, freeMb: Double): Boolean {
        if (freeMb.isNaN() || runners.containsKey(key)) return true
        val given = givenNs[key]
        if (given != null && System.nanoTime() - given < PAUSE_NS) return false
        var size = sizesMb[key] ?: 0.0
        for (other in preparing) if (other != key) size += sizesMb[other] ?: 0.0
        return Rules.fits(size, freeMb, room.reserveMb)
    }

    /**
     * Gives runners up until the reserve is there again, the least recently used first; says whether any was.
     *
     * @param freeMb what the device has left.
     * @param serving what stays beside the safe one.
     */
    @Synchronized
    fun giveWay(freeMb: Double, serving: String?): Boolean {
        if (freeMb.isNaN() || freeMb >= room.reserveMb) return false
        val kept = setOf(serving, safe)
        val given = Rules.givingWay(ArrayList(runners.keys), sizesMb, room.reserveMb - freeMb, kept)
        val late = preparing.filter { it !in kept }
        preparing.removeAll(late)
        val now = System.nanoTime()
        for (key in given + late) givenNs[key] = now
        for (key in given) runners.remove(key)?.let { give(it) }
        return given.isNotEmpty()
    }

    /** Whether a runner that serves has to be left for want of memory; the safe one never has. */
    @Synchronized
    fun inNeed(key: String?, freeMb: Double): Boolean {
        if (key == null || key == safe || !runners.containsKey(key)) return false
        return Rules.inNeed(sizesMb[key] ?: 0.0, freeMb, room.reserveMb)
    }

    /** Keeps these ready from now on, whatever they hold, and nothing else; opens at once what is not ready. */
    fun only(keys: List<String>) {
        val missing = synchronized(this) { keys.filter { !runners.containsKey(it) } }
        val fresh = missing.associateWith { opened(it) }
        synchronized(this) {
            limitMb = Double.NaN
            preparing.clear()
            for (key in ArrayList(runners.keys)) if (key !in keys) runners.remove(key)?.let { give(it) }
            runners.putAll(fresh)
        }
    }

    /** What the ready runners hold, in MB. */
    @Synchronized
    fun heldMb(): Double {
        var held = 0.0
        for (key in runners.keys) held += sizesMb[key] ?: 0.0
        return held
    }

    /** Gives all up, at once; nobody may be running. */
    @Synchronized
    fun close() {
        closed = true
        preparing.clear()
        aside.shutdown()
        for (runner in runners.values) runner.close()
        runners.clear()
    }

    private fun makeRoom(newest: String) {
        if (limitMb.isNaN()) return
        for (key in ArrayList(runners.keys)) {
            if (heldMb() <= limitMb) return
            if (key != newest && key != safe) runners.remove(key)?.let { give(it) }
        }
    }

    /** Closes a runner aside, since that takes time; after the inference that it runs. */
    private fun give(runner: Runner) {
        if (runner === taken) {
            doomed = runner
            return
        }
        try {
            aside.execute { runner.close() }
        } catch (_: RejectedExecutionException) { // the pool is closed
            runner.close()
        }
    }

    private companion object {
        /** For so long a runner that was given up for want of memory is not opened again: sizes are estimates. */
        const val PAUSE_NS = 5_000_000_000L
    }
}
