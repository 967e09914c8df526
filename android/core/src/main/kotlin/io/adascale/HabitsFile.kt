package io.adascale

import io.adascale.files.Disk
import io.adascale.files.Json
import io.adascale.policies.Excesses
import io.adascale.policies.Habits
import io.adascale.policies.Place
import java.io.File

/**
 * How often a device holds runs up, and for how long: kept by one session for the next, by the device's name.
 *
 * A file that is damaged or cannot be written costs a session's first seconds, in which it presumes what most devices
 * do. The format is that of the Python runtime.
 *
 * @param file where it is kept.
 * @param device the device's name.
 */
internal class HabitsFile(private val file: File, private val device: String) {
    /** What is known of this device. */
    fun recall(): Map<Place, Excesses> = Habits.parse(devices()[device])

    /** Remembers the habits of this device, in the place of what was known of them; none leave those. */
    fun keep(habits: Map<Place, Excesses>) {
        if (habits.isEmpty()) return
        val known = LinkedHashMap(devices())
        known.remove(device)
        while (known.size >= MOST) known.remove(known.keys.first())
        known[device] = Habits.toJson(habits)
        try {
            Disk.writeText(file, Json.dump(mapOf("format" to FORMAT, "devices" to known)))
        } catch (_: AdaScaleError) {
            // The next session begins with what most devices do.
        }
    }

    private fun devices(): Map<String, Any?> {
        val data = try {
            if (file.isFile) Disk.readJson(file) as? Map<*, *> else null
        } catch (_: AdaScaleError) {
            null
        }
        val found = if (data != null && data["format"] == FORMAT) data["devices"] as? Map<*, *> else null
        return found.orEmpty().entries.associate { it.key.toString() to it.value }
    }

    private companion object {
        const val FORMAT = "adascale-habits/1"

        /** Devices that are remembered. */
        const val MOST = 100
    }
}
