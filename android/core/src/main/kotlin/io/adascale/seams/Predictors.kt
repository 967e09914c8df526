// Files of predictors of latency, memory and energy, of which a device finds its own.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Disk
import io.adascale.files.Json
import java.io.File

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
