// What a device has left at a moment: the snapshot that policies and predictors see.
package io.adascale.seams

/**
 * A snapshot of what a device has left; null where the device does not report it.
 *
 * @property timeS Seconds on the recorder's monotonic clock.
 * @property cpuLoad Share of all cores that *other* processes used since the last snapshot, in [0, 1].
 * @property runnable Processes that want a core now, without this one.
 * @property cores How many cores there are.
 * @property cpuFreqMhz The clock in MHz, mean over cores.
 * @property memoryFreeMb What the process can still have, in MB.
 * @property battery Charge in [0, 1].
 * @property charging Whether the battery is being charged.
 * @property temperatureC The chip's temperature in degrees Celsius.
 * @property reasons Why signals are null, where it is known.
 * @property clockCapMhz The clock that the system allows at most, in MHz, mean over cores; heat lowers it.
 */
public data class Context @JvmOverloads constructor(
    val timeS: Double,
    val cpuLoad: Double? = null,
    val runnable: Int? = null,
    val cores: Int? = null,
    val cpuFreqMhz: Double? = null,
    val memoryFreeMb: Double? = null,
    val battery: Double? = null,
    val charging: Boolean? = null,
    val temperatureC: Double? = null,
    val reasons: Map<String, String>? = null,
    val clockCapMhz: Double? = null,
)
