package io.adascale.jvm

import io.adascale.device.Monitor
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotSame
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

class ProcSignalsTest {
    @TempDir
    lateinit var root: File

    private fun write(path: String, text: String) {
        File(root, path).apply { parentFile.mkdirs() }.writeText(text)
    }

    @Test
    fun `this machine tells of itself`() {
        assumeTrue(File("/proc/loadavg").isFile, "no Linux")
        val signals = ProcSignals()
        signals.sample(0.0)
        Thread.sleep(50)
        val context = signals.sample(1.5)
        assertEquals(1.5, context.timeS)
        assertTrue(checkNotNull(context.runnable) >= 0)
        assertTrue(checkNotNull(context.cpuLoad) in 0.0..1.0)
        assertTrue(checkNotNull(context.memoryFreeMb) > 0.0)
    }

    @Test
    fun `what files tell, and what they do not`() {
        val nothing = ProcSignals(root).sample(0.0)
        assertNull(nothing.runnable)
        assertNull(nothing.memoryFreeMb)
        assertNull(nothing.clockCapMhz)
        write("proc/loadavg", "0.5 0.4 0.3 4/345 999\n")
        write("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    1000000 kB\n")
        write("sys/class/thermal/thermal_zone0/temp", "41500\n")
        write("sys/class/thermal/thermal_zone1/temp", "damaged\n")
        write("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "2000000\n")
        write("sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq", "1000000\n")
        val told = ProcSignals(root).sample(0.0)
        assertEquals(3, told.runnable)
        assertEquals(1024.0, told.memoryFreeMb)
        assertEquals(41.5, told.temperatureC)
        assertEquals(1500.0, told.clockCapMhz)
    }

    @Test
    fun `a control group leaves less than the device has`() {
        write("proc/meminfo", "MemAvailable: 1000000 kB\n")
        write("proc/self/cgroup", "0::/app/one\n")
        write("sys/fs/cgroup/app/memory.max", "200000000\n")
        write("sys/fs/cgroup/app/memory.current", "150000000\n")
        write("sys/fs/cgroup/app/memory.stat", "anon 1\nactive_file 10000000\ninactive_file 20000000\n")
        write("sys/fs/cgroup/app/one/memory.max", "max\n")
        assertEquals(80.0, ProcSignals(root).memoryFreeMb())
        write("proc/self/cgroup", "5:cpu,memory:/app\n")
        write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n")
        assertEquals(1024.0, ProcSignals(root).memoryFreeMb())
    }

    @Test
    fun `a monitor samples on`() {
        val signals = ProcSignals()
        Monitor(signals, 0.01).use { monitor ->
            val first = monitor.latest
            monitor.start()
            val deadline = System.nanoTime() + 5_000_000_000L
            while (monitor.latest === first && System.nanoTime() < deadline) Thread.sleep(5)
            assertNotSame(first, monitor.latest)
        }
    }
}
