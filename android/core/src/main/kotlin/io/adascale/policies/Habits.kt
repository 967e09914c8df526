package io.adascale.policies

/**
 * What a session begins with, as JSON: a device's habits, in its file and in the first line of a trace, and the
 * slowdowns that were told of engines, in that line.
 */
public object Habits {
    private const val MOST_MS = 1e9
    private const val LATEST_S = 1e9
    private const val AT = " @ "

    /** Habits as JSON: by `delegate x threads @ level of crowding`, the running time in ms and the counts. */
    @JvmStatic
    public fun toJson(habits: Map<Place, Excesses>): Map<String, List<Double>> {
        val data = LinkedHashMap<String, List<Double>>()
        for ((place, had) in habits) {
            data[place.engine.name + AT + place.level] = listOf(had.exposureMs) + had.counts().toList()
        }
        return data
    }

    /** Habits from parsed JSON; whatever is not possible is left out. */
    @JvmStatic
    public fun parse(data: Any?): Map<Place, Excesses> {
        val habits = LinkedHashMap<Place, Excesses>()
        if (data !is Map<*, *>) return habits
        for ((name, values) in data) {
            val place = place(name.toString()) ?: continue
            if (values !is List<*> || values.size != Excesses.LENGTHS + 1 || !values.all { possible(it) }) continue
            val numbers = DoubleArray(values.size) { (values[it] as Number).toDouble() }
            val counts = numbers.copyOfRange(1, numbers.size)
            if ((1 until counts.size).all { counts[it - 1] >= counts[it] }) habits[place] = Excesses.of(counts, numbers[0])
        }
        return habits
    }

    /** Slowdowns as JSON: by `delegate x threads`, the slowdown and when it held, in seconds. */
    @JvmStatic
    public fun toldToJson(told: Map<Engine, Told>): Map<String, List<Double>> {
        val data = LinkedHashMap<String, List<Double>>()
        for ((engine, one) in told) data[engine.name] = listOf(one.slowdown, one.timeS)
        return data
    }

    /** Slowdowns from parsed JSON; whatever is not possible is left out. */
    @JvmStatic
    public fun parseTold(data: Any?): Map<Engine, Told> {
        val told = LinkedHashMap<Engine, Told>()
        if (data !is Map<*, *>) return told
        for ((name, values) in data) {
            val engine = Engine.parse(name.toString()) ?: continue
            if (values !is List<*> || values.size != 2 || !values.all { finite(it) }) continue
            val slowdown = (values[0] as Number).toDouble()
            val timeS = (values[1] as Number).toDouble()
            if (slowdown < Pressure.LEAST_SLOWDOWN || slowdown > Pressure.MOST_SLOWDOWN) continue
            if (Math.abs(timeS) <= LATEST_S) told[engine] = Told(slowdown, timeS)
        }
        return told
    }

    /** The engine and level of a name, split at the last `@`. */
    private fun place(name: String): Place? {
        val at = name.lastIndexOf(AT)
        if (at < 0) return null
        val level = Digits.parse(name.substring(at + AT.length)) ?: return null
        if (level > Pressure.UNKNOWN) return null
        return Place(Engine.parse(name.substring(0, at)) ?: return null, level)
    }

    private fun possible(value: Any?): Boolean = finite(value) && (value as Number).toDouble() in 0.0..MOST_MS

    private fun finite(value: Any?): Boolean {
        if (value !is Number) return false
        val number = value.toDouble()
        return !number.isNaN() && !number.isInfinite()
    }
}
