// Predictors as JSON, in the format `adascale-predictors/1`.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Codec
import io.adascale.files.Decode
import io.adascale.files.Fields

internal object PredictorsJson {
    val decode: Decode<Predictors> = { data, where ->
        val fields = Fields(data, where)
        Predictors(
            fields.need("format", Codec.string), fields.need("predictors", Codec.list(predictor)),
            fields.need("created", Codec.string), fields.need("versions", Codec.strings),
        )
    }

    private val predictor: Decode<Predictor> = { data, where ->
        val fields = Fields(data, where)
        Predictor(
            quantity = fields.need("quantity", Codec.string),
            device = fields.need("device", Codec.string),
            delegate = fields.need("delegate", Codec.string),
            threads = fields.need("threads", Codec.int),
            how = fields.need("how", Codec.string),
            coefficients = fields.need("coefficients", Codec.numbers),
            ranges = fields.need("ranges", Codec.dict(Codec.list(Codec.double))),
            samples = fields.need("samples", Codec.long),
            error = fields.maybe("error", Codec.double),
            spread = fields.get("spread", emptyList(), Codec.list(Codec.double)),
            caches = fields.get("caches", emptyMap(), Codec.dict(Codec.long)),
            latency = fields.get("latency", emptyMap(), Codec.numbers),
            slowdown = fields.get("slowdown", emptyMap(), Codec.numbers),
            strained = fields.get("strained", emptyList(), Codec.list(Codec.double)),
            reference = fields.get("reference", emptyMap(), Codec.numbers),
            about = fields.get("about", emptyMap(), Codec.strings),
            anchors = fields.get("anchors", emptyMap(), Codec.numbers),
            support = fields.get("support", emptyList(), Codec.list(Codec.string)),
        )
    }

    /** Refuses predictors whose values cannot be. */
    fun checked(found: Predictors, where: String): Predictors {
        for ((number, one) in found.predictors.withIndex()) {
            for ((kind, ms) in one.anchors) {
                if (!(Pace.SHORTEST_MS <= ms && ms <= Pace.LONGEST_MS)) {
                    throw BadInput(
                        "$where: predictors[$number].anchors[${Text.quoted(Text.excerpt(kind))}] is " +
                            "${Text.general(ms)} ms, which is not in the range from " +
                            "${Text.general(Pace.SHORTEST_MS)} to ${Text.general(Pace.LONGEST_MS)}.",
                    )
                }
            }
            for ((name, range) in one.ranges) {
                if (range.size != 2) {
                    throw BadInput(
                        "$where: predictors[$number].ranges[${Text.quoted(Text.excerpt(name))}] has ${range.size} " +
                            "numbers, but a range has 2; fit the predictors again.",
                    )
                }
            }
        }
        return found
    }

    fun toJson(file: Predictors): Map<String, Any?> = linkedMapOf(
        "format" to file.format, "predictors" to file.predictors.map { predictorJson(it) },
        "created" to file.created, "versions" to file.versions,
    )

    private fun predictorJson(one: Predictor) = linkedMapOf(
        "quantity" to one.quantity, "device" to one.device, "delegate" to one.delegate, "threads" to one.threads,
        "how" to one.how, "coefficients" to one.coefficients, "ranges" to one.ranges, "samples" to one.samples,
        "error" to one.error, "spread" to one.spread, "caches" to one.caches, "latency" to one.latency,
        "slowdown" to one.slowdown, "strained" to one.strained, "reference" to one.reference, "about" to one.about,
        "anchors" to one.anchors, "support" to one.support,
    )
}
