// Memory that a control group leaves a process: a group with a limit ends a process in it that takes more.
package io.adascale.jvm

import java.io.File

/**
 * The control groups of this process, of both versions; files that are missing, denied or damaged limit nothing.
 *
 * Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory";
 * https://docs.kernel.org/admin-guide/cgroup-v1/memory.html.
 */
internal class ControlGroups(private val root: File) {
    private class Kind(val folders: List<String>, val limits: List<String>, val usage: String, val cache: List<String>)

    /** What they leave, in MB (10^6 bytes), at least 0; NaN where none limits its memory. */
    fun roomMb(): Double {
        var least = Double.NaN
        for (line in text(File(root, "proc/self/cgroup")).lines()) {
            val parts = line.split(":", limit = 3)
            if (parts.size < 3) continue
            val kind = when {
                parts[0] == "0" && parts[1].isEmpty() -> SECOND
                "memory" in parts[1].split(",") -> FIRST
                else -> continue
            }
            for (room in rooms(kind, parts[2])) if (least.isNaN() || room < least) least = room
        }
        return if (least.isNaN()) least else Math.max(0.0, least) / 1e6
    }

    /** What each group from the root of the tree to [path] leaves; a container sees its own group as that root. */
    private fun rooms(kind: Kind, path: String): List<Double> {
        val names = path.split("/").filter { it !in setOf("", ".", "..") }.take(DEPTH)
        return kind.folders.flatMap { top ->
            (0..names.size).mapNotNull { depth -> room(File(root, (listOf(top) + names.take(depth)).joinToString("/")), kind) }
        }
    }

    private fun room(folder: File, kind: Kind): Double? {
        val limit = kind.limits.mapNotNull { bytes(text(File(folder, it))) }.minOrNull() ?: return null
        if (limit >= NONE) return null
        val usage = bytes(text(File(folder, kind.usage))) ?: return null
        var cache = 0.0
        for (line in text(File(folder, "memory.stat")).lines()) {
            val pair = line.split(" ")
            if (pair.size == 2 && pair[0] in kind.cache) cache += bytes(pair[1]) ?: 0.0
        }
        return limit - Math.max(0.0, usage - cache)
    }

    /** The amount that a text holds; null for `max`, which is no limit, and for what is no amount. */
    private fun bytes(text: String): Double? = text.toDoubleOrNull()?.takeIf { it >= 0.0 && it < Double.POSITIVE_INFINITY }

    private fun text(file: File): String = ProcSignals.text(file).orEmpty()

    private companion object {
        /** A limit of so many bytes is none: version 1 writes the largest number that fits where nothing is limited. */
        const val NONE = 1.15e18
        const val DEPTH = 32
        val FIRST = Kind(
            listOf("sys/fs/cgroup/memory"), listOf("memory.limit_in_bytes"), "memory.usage_in_bytes",
            listOf("total_active_file", "total_inactive_file"),
        )
        val SECOND = Kind(
            listOf("sys/fs/cgroup", "sys/fs/cgroup/unified"), listOf("memory.max", "memory.high"), "memory.current",
            listOf("active_file", "inactive_file"),
        )
    }
}
