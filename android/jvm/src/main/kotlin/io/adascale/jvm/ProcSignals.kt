// What Linux tells of a machine in /proc and /sys.
package io.adascale.jvm

import io.adascale.device.Signals
import io.adascale.seams.Context
import java.io.File
import java.io.FileInputStream
import java.io.IOException

/**
 * The context of a machine with Linux: load, processes that want a core, memory, temperature, the clock's cap. On other
 * systems it tells the number of cores only.
 *
 * @param root the folder that stands for `/`.
 */
public class ProcSignals @JvmOverloads constructor(private val root: File = File("/")) : Signals {
    private val groups = ControlGroups(root)
    private var count = 0
    private var busyS = Double.NaN
    private var ownS = 0.0
    private var wallNs = 0L
    private var temperatureC: Double? = null

    override fun sample(timeS: Double): Context {
        // Reading a thermal zone can take a millisecond.
        if (count++ % SLOW == 0) temperatureC = temperature()
        val cores = Runtime.getRuntime().availableProcessors()
        return Context(
            timeS = timeS,
            cpuLoad = load(cores),
            runnable = runnable(),
            cores = cores,
            memoryFreeMb = memoryFreeMb().takeUnless { it.isNaN() },
            temperatureC = temperatureC,
            clockCapMhz = clockCapMhz(),
        )
    }

    override fun memoryFreeMb(): Double {
        val line = text(File(root, "proc/meminfo")).orEmpty().lines().firstOrNull { it.startsWith("MemAvailable:") }
        val kb = line?.removePrefix("MemAvailable:")?.substringBefore("kB")?.trim()?.toDoubleOrNull() ?: return Double.NaN
        val roomMb = groups.roomMb()
        val deviceMb = kb * 1024 / 1e6
        return if (roomMb.isNaN()) deviceMb else Math.min(deviceMb, roomMb)
    }

    /** The share of all cores that others took since the sample before. */
    private fun load(cores: Int): Double? {
        val line = text(File(root, "proc/stat"))?.lineSequence()?.firstOrNull { it.startsWith("cpu ") } ?: return null
        // user, nice, system, idle, iowait, irq, softirq, steal: the last two are parts of the first two.
        val ticks = line.split(' ').drop(1).mapNotNull { it.toDoubleOrNull() }
        if (ticks.size < 8) return null
        val busy = (ticks.take(8).sum() - ticks[3] - ticks[4]) / TICKS
        val own = ownSeconds()
        val wall = System.nanoTime()
        val others = (busy - busyS) - (own - ownS)
        val spanS = 1e-9 * (wall - wallNs)
        val known = !busyS.isNaN() && spanS > 0.0
        busyS = busy
        ownS = own
        wallNs = wall
        return if (known) Math.max(0.0, Math.min(1.0, others / (spanS * cores))) else null
    }

    /** The time that this process has run on cores, in seconds. */
    private fun ownSeconds(): Double {
        val stat = text(File("/proc/self/stat"))?.substringAfterLast(") ")?.split(' ') ?: return 0.0
        return ((stat.getOrNull(11)?.toDoubleOrNull() ?: 0.0) + (stat.getOrNull(12)?.toDoubleOrNull() ?: 0.0)) / TICKS
    }

    /** Processes that want a core now, without the thread that asks. */
    private fun runnable(): Int? {
        val parts = text(File(root, "proc/loadavg"))?.split(' ') ?: return null
        val wanting = parts.getOrNull(3)?.substringBefore('/')?.toIntOrNull() ?: return null
        return Math.max(0, wanting - 1)
    }

    private fun temperature(): Double? = folders("sys/class/thermal", "thermal_zone").mapNotNull { zone ->
        val told = text(File(zone, "temp"))?.trim()?.toDoubleOrNull()
        val celsius = if (told != null && Math.abs(told) >= 1000) told / 1000 else told
        celsius?.takeIf { it > -30.0 && it < 150.0 }
    }.maxOrNull()

    private fun clockCapMhz(): Double? {
        val caps = folders("sys/devices/system/cpu", "cpu").mapNotNull {
            text(File(it, "cpufreq/scaling_max_freq"))?.trim()?.toDoubleOrNull()
        }
        return caps.average().takeIf { caps.isNotEmpty() && it > 0.0 && it <= 1e9 }?.let { it / 1e3 }
    }

    private fun folders(parent: String, prefix: String): List<File> = File(root, parent).listFiles().orEmpty()
        .filter { it.name.startsWith(prefix) && it.name.drop(prefix.length).toIntOrNull() != null }

    internal companion object {
        private const val SLOW = 20
        private const val TICKS = 100.0
        private const val MOST = 1 shl 16

        /** What a small file holds; null where it cannot be read. Files of /proc have no length. */
        fun text(file: File): String? = try {
            FileInputStream(file).use { stream ->
                val block = ByteArray(MOST)
                var length = 0
                while (length < MOST) {
                    val count = stream.read(block, length, MOST - length)
                    if (count < 0) break
                    length += count
                }
                String(block, 0, length, Charsets.UTF_8)
            }
        } catch (_: IOException) {
            null
        }
    }
}
