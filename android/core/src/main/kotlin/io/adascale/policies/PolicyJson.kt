package io.adascale.policies

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Codec
import io.adascale.files.Decode
import io.adascale.files.Fields
import io.adascale.files.Range
import io.adascale.seams.Header

/** Options and settings as they stand in a trace's first line, and states for tests. */
public object PolicyJson {
    /** A table's options as JSON, by id. */
    @JvmStatic
    public fun toJson(table: Table): Map<String, Any?> = table.options.associate { option ->
        option.id to linkedMapOf(
            "id" to option.id, "accuracy" to option.accuracy, "latency_ms" to option.latencyMs,
            "energy_mj" to option.energyMj, "memory_mb" to option.memoryMb, "delegate" to option.delegate,
            "threads" to option.threads.toLong(), // as parsed JSON has it
        )
    }

    /** Settings as JSON. */
    @JvmStatic
    public fun toJson(settings: Settings): Map<String, Any?> = linkedMapOf(
        "misses" to settings.misses, "patience_s" to settings.patienceS, "headroom" to settings.headroom,
        "dwell_s" to settings.dwellS, "battery_wh" to settings.batteryWh, "reserve_mb" to settings.reserveMb,
        "clock" to settings.clock, "forecast_s" to settings.forecastS, "learning" to toJson(settings.learning),
    )

    private fun toJson(learning: Learning): Map<String, Any?> = linkedMapOf(
        "window_s" to learning.windowS, "excess_s" to learning.excessS, "memory_s" to learning.memoryS,
        "excess_ms" to learning.excessMs, "stall" to learning.stall, "surely" to learning.surely,
        "trust_ms" to learning.trustMs, "habit_ms" to learning.habitMs, "caution" to learning.caution,
    )

    /** All that a state remembers, with the slowdowns of engines and corrections of options by their names. */
    internal fun toJson(state: State): Map<String, Any?> = linkedMapOf(
        "branch" to state.branch, "since_s" to state.sinceS, "period_s" to state.periodS, "last_s" to state.lastS,
        "served" to state.served, "late" to state.late, "rest_mw" to state.restMw, "drawn_mj" to state.drawnMj,
        "drawn_s" to state.drawnS, "cap_mhz" to state.capMhz,
        "energies" to state.root.engines.associate { it.name to state.energies[state.root.engines.indexOf(it)] },
        "windows" to state.root.engines.associate { it.name to toJson(checkNotNull(state.window(it)), state.root) },
        "excesses" to state.root.engines.associate { engine ->
            val had = checkNotNull(state.excesses(engine))
            engine.name to (listOf(had.exposureMs) + had.counts().toList())
        },
        "habits" to Habits.toJson(state.habits()),
        "corrections" to state.root.options.associate { option ->
            val one = checkNotNull(state.correction(option))
            option.id to listOf(one.weight, one.total, one.timeS, one.recent)
        },
        "load" to listOf(state.load.value, state.load.slope, state.load.timeS),
        "heat" to listOf(state.heat.value, state.heat.slope, state.heat.timeS),
    )

    private fun toJson(window: Window, table: Table): Map<String, Any?> = linkedMapOf(
        "weight" to window.weight, "ratios" to window.ratios, "apart" to window.apart, "time_s" to window.timeS,
        "option" to if (window.option < 0) "" else table.at(window.option).id, "others" to window.others,
        "before" to window.before, "last" to window.last, "upper" to window.upper, "open_ms" to window.openMs,
    )

    /**
     * The options that the policy of a trace had.
     *
     * @throws BadInput there are none, or one is damaged.
     */
    @JvmStatic
    public fun table(header: Header): Table {
        if (header.table.isEmpty()) {
            throw BadInput("The trace names no branches in its first line; record it again.")
        }
        return Table(
            header.table.map { (name, data) ->
                val where = "table." + Text.excerpt(name)
                val option = option(data, where)
                if (option.id != name) {
                    throw BadInput("$where is the branch '${Text.excerpt(option.id)}'; record the trace again.")
                }
                option
            },
        )
    }

    /**
     * The settings that the policy of a trace had.
     *
     * @throws BadInput they are damaged.
     */
    @JvmStatic
    public fun settings(header: Header): Settings = settings(header.settings, "settings")

    private val option: Decode<Option> = { data, where ->
        val fields = Fields(data, where)
        val option = Option(
            id = fields.need("id", Codec.string),
            accuracy = fields.need("accuracy", Codec.double),
            latencyMs = fields.need("latency_ms", Codec.double),
            energyMj = fields.maybe("energy_mj", Codec.double),
            memoryMb = fields.maybe("memory_mb", Codec.double),
            delegate = fields.get("delegate", "cpu", Codec.string),
            threads = fields.get("threads", 1, Codec.int),
        )
        Range.SHARE.check(option.accuracy, "$where.accuracy")
        Range.POSITIVE.check(option.latencyMs, "$where.latency_ms")
        Range.AMOUNT.check(option.energyMj, "$where.energy_mj")
        Range.AMOUNT.check(option.memoryMb, "$where.memory_mb")
        Range(1.0, 1e4).check(option.threads, "$where.threads")
        option
    }

    private val learning: Decode<Learning> = { data, where ->
        val usual = Learning()
        val fields = Fields(data, where)
        Learning(
            windowS = fields.get("window_s", usual.windowS, Codec.double),
            excessS = fields.get("excess_s", usual.excessS, Codec.double),
            memoryS = fields.get("memory_s", usual.memoryS, Codec.double),
            excessMs = fields.get("excess_ms", usual.excessMs, Codec.double),
            stall = fields.get("stall", usual.stall, Codec.double),
            surely = fields.get("surely", usual.surely, Codec.double),
            trustMs = fields.get("trust_ms", usual.trustMs, Codec.double),
            habitMs = fields.get("habit_ms", usual.habitMs, Codec.double),
            caution = fields.get("caution", usual.caution, Codec.double),
        )
    }

    private val settings: Decode<Settings> = { data, where ->
        val usual = Settings()
        val fields = Fields(data, where)
        val settings = Settings(
            misses = fields.get("misses", usual.misses, Codec.double),
            patienceS = fields.get("patience_s", usual.patienceS, Codec.double),
            headroom = fields.get("headroom", usual.headroom, Codec.double),
            dwellS = fields.get("dwell_s", usual.dwellS, Codec.double),
            batteryWh = fields.get("battery_wh", usual.batteryWh, Codec.double),
            reserveMb = fields.get("reserve_mb", usual.reserveMb, Codec.double),
            clock = fields.get("clock", usual.clock, Codec.double),
            forecastS = fields.get("forecast_s", usual.forecastS, Codec.double),
            learning = fields.get("learning", usual.learning, learning),
        )
        check(settings, where)
        check(settings.learning, "$where.learning")
        settings
    }

    private fun check(settings: Settings, where: String) {
        Range.SHARE.check(settings.misses, "$where.misses")
        Range.POSITIVE.check(settings.patienceS, "$where.patience_s")
        Range(1e-6, 1e6).check(settings.headroom, "$where.headroom")
        Range.AMOUNT.check(settings.dwellS, "$where.dwell_s")
        Range.POSITIVE.check(settings.batteryWh, "$where.battery_wh")
        Range.AMOUNT.check(settings.reserveMb, "$where.reserve_mb")
        Range(1.0, 100.0).check(settings.clock, "$where.clock")
        Range.AMOUNT.check(settings.forecastS, "$where.forecast_s")
    }

    private fun check(learning: Learning, where: String) {
        Range.POSITIVE.check(learning.windowS, "$where.window_s")
        Range.POSITIVE.check(learning.excessS, "$where.excess_s")
        Range.POSITIVE.check(learning.excessMs, "$where.excess_ms")
        Range.POSITIVE.check(learning.memoryS, "$where.memory_s")
        Range(1.0, 1e6).check(learning.stall, "$where.stall")
        Range(1.0, 1e6).check(learning.surely, "$where.surely")
        Range.POSITIVE.check(learning.trustMs, "$where.trust_ms")
        Range.POSITIVE.check(learning.habitMs, "$where.habit_ms")
        Range(0.0, 1e6).check(learning.caution, "$where.caution")
    }
}
