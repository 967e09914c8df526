// Predictors: fitted regressions from a branch's static cost to latency, memory and energy, as plain coefficients.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Disk
import io.adascale.files.Json
import java.io.File

/**
 * One quantity (`latency_ms`, `memory_mb`, `energy_mj`) on one device x delegate x threads.
 *
 * @property how `fitted` or, for energy without a meter, `estimated:...`.
 * @property coefficients Non-negative, by the name of a feature ([Features.of]).
 * @property ranges Smallest and largest value of each feature among the [samples] measurements it was fitted on.
 * @property error Mean absolute percentage error on held-out branches; null where nothing was fitted.
 * @property spread The ratio of measured to predicted that 5 % and 95 % of held-out branches stay below.
 * @property caches The device's, in bytes.
 * @property latency For energy, coefficients of the latency that its coefficient `latency_ms` is multiplied with.
 * @property slowdown What each strain ([Features.strain]) adds to 1; empty if no sweep of contexts was measured.
 * @property strained The sweep's [spread].
 * @property reference The idle device of the sweep.
 * @property about Serial, model and processor of the device, as far as it told.
 * @property anchors What each anchor usually takes there, in ms by kind.
 * @property support The entries of a branch's `support` that tell in how many partitions the delegate takes it, the
 *   most exact first; empty if its partitions do not matter.
 */
public data class Predictor @JvmOverloads constructor(
    val quantity: String,
    val device: String,
    val delegate: String,
    val threads: Int,
    val how: String,
    val coefficients: Map<String, Double>,
    val ranges: Map<String, List<Double>>,
    val samples: Long,
    val error: Double? = null,
    val spread: List<Double> = emptyList(),
    val caches: Map<String, Long> = emptyMap(),
    val latency: Map<String, Double> = emptyMap(),
    val slowdown: Map<String, Double> = emptyMap(),
    val strained: List<Double> = emptyList(),
    val reference: Map<String, Double> = emptyMap(),
    val about: Map<String, String> = emptyMap(),
    val anchors: Map<String, Double> = emptyMap(),
    val support: List<String> = emptyList(),
) {
    /** In how many pieces the delegate takes a branch, by its `support`; null where that is not known. */
    public fun partitions(told: List<Support>): Double? {
        for (name in support) {
            val one = told.lastOrNull { it.delegate == name }
            if (one != null) return one.partitions.toDouble()
        }
        return null
    }

    /** The features that this predictor was fitted on; where the number of partitions is not known, 1. */
    @JvmOverloads
    public fun features(cost: Cost, precision: String, partitions: Double? = null): Map<String, Double> =
        Features.of(cost, precision, caches, if (support.isEmpty()) null else partitions ?: 1.0)

    /**
     * The predicted quantity, in the unit that its name says.
     *
     * On the idle device the lower quartile of runs, which is its median where nothing disturbs it; in a [context] the
     * mean, since a loaded core is lost for milliseconds at a time.
     *
     * @param latencyMs A measured idle latency, which predicts energy better than a predicted one.
     * @param speed How fast the device is, relative to its usual speed; at 0.8 everything takes 1/0.8 as long. A clock
     *   that a context tells counts as well, so give one of the two.
     * @param partitions In how many pieces the delegate takes the branch ([Predictor.partitions]).
     * @throws BadInput The speed is not positive.
     */
    @JvmOverloads
    public fun predict(
        cost: Cost,
        precision: String,
        context: Context? = null,
        latencyMs: Double? = null,
        speed: Double = 1.0,
        partitions: Double? = null,
    ): Double {
        if (!(speed > 0.0 && speed < Double.POSITIVE_INFINITY)) {
            throw BadInput(
                "A device cannot have ${Text.general(speed)} times its usual speed; give a positive number.",
            )
        }
        val values = LinkedHashMap(features(cost, precision, partitions))
        if (latency.isNotEmpty()) values["latency_ms"] = latencyMs ?: (dot(latency, values) / speed)
        val value = dot(coefficients, values) / (if (quantity == "latency_ms") speed else 1.0)
        return value * (if (context == null) 1.0 else factor(context))
    }

    /** How many times slower than idle the device is in a context, at least 1. */
    public fun factor(context: Context): Double = 1.0 + dot(slowdown, Features.strain(context, threads, reference))

    /** Bounds that held nine of ten held-out branches, low and high; null if none was held out. See [predict]. */
    @JvmOverloads
    public fun interval(
        cost: Cost,
        precision: String,
        context: Context? = null,
        latencyMs: Double? = null,
        speed: Double = 1.0,
        partitions: Double? = null,
    ): Pair<Double, Double>? {
        if (spread.size != 2) return null
        val middle = predict(cost, precision, context, latencyMs, speed, partitions)
        if (context == null || strained.size != 2) return Pair(middle * spread[0], middle * spread[1])
        return Pair(
            middle * spread[0] * Math.min(1.0, strained[0]),
            middle * spread[1] * Math.max(1.0, strained[1]),
        )
    }

    /**
     * The features of a branch that lie outside the data this predictor holds for; sorted. A kernel that was never
     * measured counts as outside if the branch has it.
     */
    @JvmOverloads
    public fun outside(cost: Cost, precision: String, partitions: Double? = null): List<String> {
        val values = features(cost, precision, partitions)
        val wrong = ArrayList<String>()
        for ((name, range) in ranges) {
            val value = values[name] ?: 0.0
            if (!(range[0] <= value && value <= range[1])) wrong.add(name)
        }
        if (ranges.keys.any { it.endsWith(".count") }) {
            for ((name, value) in values) {
                val counted = name.endsWith(".count") || name.startsWith("macs_")
                if (counted && value != 0.0 && name !in ranges) wrong.add(name)
            }
        }
        return wrong.sorted()
    }

    private fun dot(weights: Map<String, Double>, values: Map<String, Double>): Double {
        var sum = 0.0
        for ((name, weight) in weights) sum += weight * (values[name] ?: 0.0)
        return sum
    }
}

/**
 * All predictors of one file, format `adascale-predictors/1`.
 *
 * @property created The time they were fitted, in ISO 8601.
 * @property versions Of the programs that fitted them, by name.
 */
public data class Predictors(
    val format: String,
    val predictors: List<Predictor>,
    val created: String,
    val versions: Map<String, String>,
) {
    /** The names of the devices that the predictors are of. */
    public val devices: List<String>
        get() = predictors.map { it.device }.distinct()

    /**
     * Those of one device: by its name or serial, else its model, else its processor.
     *
     * @throws BadInput None or several of the devices are meant; the sentence lists them.
     */
    public fun of(wanted: String): Predictors =
        only(listOf(listOf(wanted), listOf(wanted), listOf(wanted)), "'${Text.excerpt(wanted)}' names")

    /**
     * Those of the device that [facts] describe (`name`, `serial`, `manufacturer`, `model`, `soc`, `board`, `cpu`);
     * whatever it is if the file knows one device only.
     *
     * @throws BadInput None or several of the devices match; the sentence lists them.
     */
    public fun here(facts: Map<String, String>): Predictors {
        if (devices.size <= 1) return this
        val known = facts.filterValues { it.isNotEmpty() }
        val models = ArrayList<String>()
        known["model"]?.let { model ->
            models.add(model)
            known["manufacturer"]?.let { models.add("$it $model") }
        }
        val levels = listOf(listOf("name", "serial").mapNotNull { known[it] }, models, CHIPS.mapNotNull { known[it] })
        return only(levels, "this device matches")
    }

    private fun only(levels: List<List<String>>, who: String): Predictors {
        for ((level, names) in levels.withIndex()) {
            val meant = predictors.filter { one -> names.any { means(one, it, level) } }.map { it.device }.distinct()
            if (meant.size == 1) return copy(predictors = predictors.filter { it.device == meant[0] })
            if (meant.isNotEmpty()) throw several(meant.sorted(), "$who several of them")
        }
        throw several(devices, "$who none of them")
    }

    /**
     * The predictor of that cell, or null.
     *
     * @throws BadInput Several devices have one; see [of].
     */
    public fun find(quantity: String, delegate: String, threads: Int): Predictor? {
        val fitted = predictors.filter {
            it.quantity == quantity && it.delegate == delegate && it.threads == threads
        }
        if (fitted.any { it.device != fitted[0].device }) throw several(devices, "none of them is chosen")
        return fitted.firstOrNull()
    }

    /** The prediction for a branch, or null where there is no predictor. See [Predictor.predict]. */
    @JvmOverloads
    public fun predict(
        quantity: String,
        branch: Branch,
        delegate: String,
        threads: Int,
        context: Context? = null,
        speed: Double = 1.0,
    ): Double? {
        val found = find(quantity, delegate, threads) ?: return null
        return found.predict(branch.cost, branch.precision, context, null, speed, found.partitions(branch.support))
    }

    /** Bounds for a branch that held nine of ten held-out ones, or null where they are not known. */
    @JvmOverloads
    public fun interval(
        quantity: String,
        branch: Branch,
        delegate: String,
        threads: Int,
        context: Context? = null,
        speed: Double = 1.0,
    ): Pair<Double, Double>? {
        val found = find(quantity, delegate, threads) ?: return null
        return found.interval(branch.cost, branch.precision, context, null, speed, found.partitions(branch.support))
    }

    public companion object {
        /** The format that this program reads. */
        public const val FORMAT: String = "adascale-predictors/1"

        /** The facts that name a device's processor. */
        private val CHIPS = listOf("soc", "board", "cpu")

        /**
         * Read a predictors file.
         *
         * @throws BadInput Something is wrong with it.
         */
        @JvmStatic
        public fun load(path: File): Predictors = parse(Disk.readBytes(path), path.toString())

        /**
         * Predictors from the content of their file, such as an app's asset.
         *
         * @param where Names the source in sentences.
         * @throws BadInput Something is wrong with it.
         */
        @JvmStatic
        public fun parse(content: ByteArray, where: String): Predictors {
            val data = Json.parse(content, where)
            if ((data as? Map<*, *>)?.get("format") != FORMAT) {
                throw BadInput(
                    "$where is not a predictors file ('$FORMAT' is expected); write one with 'adascale fit'.",
                )
            }
            return PredictorsJson.checked(PredictorsJson.decode(data, where), where)
        }

        /** Predictors as the text of their file. */
        @JvmStatic
        public fun text(predictors: Predictors): String = Json.dump(PredictorsJson.toJson(predictors))

        /**
         * The predictors of a file for one device: the one that is [wanted], else the one that [facts] describe.
         *
         * @throws BadInput The file cannot be used, or is of other devices.
         */
        @JvmStatic
        public fun choose(path: File, wanted: String?, facts: Map<String, String>): Predictors {
            val fitted = load(path)
            try {
                return if (wanted == null) fitted.here(facts) else fitted.of(wanted)
            } catch (error: BadInput) {
                throw BadInput("$path: ${error.sentence}")
            }
        }

        /** Whether a name means a predictor's device: as itself (level 0), as its model (1), as its processor (2). */
        private fun means(predictor: Predictor, wanted: String, level: Int): Boolean {
            val device = folded(predictor.device)
            val name = folded(wanted)
            if (level == 0) {
                return name == device || name == device.substringAfterLast(' ') ||
                    name == folded(predictor.about["serial"].orEmpty())
            }
            // A device's name begins with its model, or its processor.
            if (device.startsWith("$name ") || device.startsWith("$name,")) return true
            val keys = if (level == 1) listOf("model") else CHIPS
            return name.isNotEmpty() && keys.any { name == folded(predictor.about[it].orEmpty()) }
        }

        /** A text of which capital and small letters are the same. */
        private fun folded(text: String): String = text.uppercase().lowercase()

        private fun several(devices: List<String>, why: String): BadInput {
            val names = devices.joinToString("; ") { Text.excerpt(it) }
            return BadInput("The predictors are of ${devices.size} devices ($names), and $why; name one of them.")
        }
    }
}
