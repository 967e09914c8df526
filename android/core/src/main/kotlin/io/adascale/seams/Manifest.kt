// What a manifest says: a bundle's branches with their costs and accuracy, its files and samples.
package io.adascale.seams

import io.adascale.BadInput

/**
 * A tensor at the border of a branch. `real = (stored - zeroPoint) * scale` where [dtype] is an integer.
 *
 * @property name Its name in the signature.
 * @property shape Its dimensions; the first is 1.
 * @property dtype One of [Manifests.DTYPES].
 * @property scale Null where it is not quantized.
 * @property zeroPoint Null where it is not quantized.
 */
public data class TensorSpec @JvmOverloads constructor(
    val name: String,
    val shape: List<Int>,
    val dtype: String,
    val scale: Double? = null,
    val zeroPoint: Int? = null,
)

/**
 * How well a branch answers, measured with the .tflite itself.
 *
 * @property metric What is counted, such as "top-1".
 * @property value In [0, 1].
 * @property samples How many examples were answered.
 * @property split The part of the data that they are from.
 */
public data class Accuracy(val metric: String, val value: Double, val samples: Long, val split: String) {
    /**
     * The 95 % confidence interval of the value in [0, 1], by the examples alone (Wilson, JASA 22, 1927): its low and
     * its high end.
     */
    public val interval: Pair<Double, Double>
        get() {
            if (samples == 0L) return Pair(0.0, 1.0)
            val z2 = 1.96 * 1.96 / samples
            val middle = value + z2 / 2
            val half = Math.sqrt(z2 * (value * (1.0 - value) + z2 / 4))
            return Pair(Math.max(0.0, (middle - half) / (1.0 + z2)), Math.min(1.0, (middle + half) / (1.0 + z2)))
        }
}

/**
 * How a .tflite compares with its Keras network on real inputs.
 *
 * @property samples How many inputs.
 * @property agreement The share of equal top-1 classes, in [0, 1].
 * @property maxAbsDifference The largest difference of any output value, in the outputs' unit.
 * @property outputRange Largest minus smallest output of the Keras network, to judge the difference by.
 */
public data class Verification(
    val samples: Long,
    val agreement: Double,
    val maxAbsDifference: Double,
    val outputRange: Double,
)

/**
 * What a branch costs on any device, counted from its flatbuffer.
 *
 * @property macs Multiply-accumulates of one inference.
 * @property params Stored weights.
 * @property weightBytes Bytes of constants that one inference reads.
 * @property activationBytes Bytes of activations that one inference writes and reads.
 * @property peakBytes The largest sum of bytes of activations that are alive at once.
 * @property ops Operators.
 * @property kernels By class of kernels, such as `conv-integer`: sums over operators that their time is linear in.
 * @property arithmetic One of [Precisions.ARITHMETICS]; empty where the branch's precision says it.
 */
public data class Cost @JvmOverloads constructor(
    val macs: Long,
    val params: Long,
    val weightBytes: Long,
    val activationBytes: Long,
    val peakBytes: Long,
    val ops: Long,
    val kernels: Map<String, Map<String, Double>> = emptyMap(),
    val arithmetic: String = "",
)

/**
 * A branch compiled ahead of time for one chip with an NPU, whose vendor's libraries run the file.
 *
 * @property vendor Whose chip: "intel", "qualcomm", "mediatek", "google", "samsung".
 * @property chip The chip as its vendor calls it, such as "SM8750".
 * @property file Its path in the bundle.
 * @property operators Operators of the branch.
 * @property taken How many of them were compiled.
 * @property partitions Into how many pieces.
 * @property compiler What compiled it.
 * @property verification How its outputs compare with those of the portable file; null where that was not tried.
 */
public data class Compiled @JvmOverloads constructor(
    val vendor: String,
    val chip: String,
    val file: String,
    val operators: Long,
    val taken: Long,
    val partitions: Long,
    val compiler: String = "",
    val verification: Verification? = null,
)

/**
 * One branch: what it is, which signature of which file runs it, what it costs and how well it answers.
 *
 * @property exit Where it ends: counts from 1, the last is the full depth.
 * @property sizeBytes The size of the branch as a file of its own; branches that share a file take less together.
 * @property expected The file of its outputs for the bundle's samples (float32).
 * @property training How it was trained; `keras_accuracy` is that of the network that it was converted from.
 * @property support What delegates will take of it. Empty in manifests that were written before it.
 * @property minRuntime The first version of LiteRT that has all of its operators; empty where that is not known.
 * @property compiled Its files for NPUs, beside the portable one.
 */
public data class Branch @JvmOverloads constructor(
    val id: String,
    val recipe: String,
    val exit: Int,
    val precision: String,
    val file: String,
    val signature: String,
    val sizeBytes: Long,
    val input: TensorSpec,
    val output: TensorSpec,
    val cost: Cost,
    val accuracy: Accuracy,
    val verification: Verification,
    val expected: String,
    val training: Map<String, Any?> = emptyMap(),
    val support: List<Support> = emptyList(),
    val minRuntime: String = "",
    val compiled: List<Compiled> = emptyList(),
) {
    /** The accuracy of the Keras network that the branch was converted from, in [0, 1]; null if it is not known. */
    public val floatAccuracy: Double?
        get() = (training["keras_accuracy"] as? Number)?.toDouble()

    /** Points of accuracy (1 point is 0.01) that the file has lost against its Keras network; 0 if not known. */
    public val loss: Double
        get() = floatAccuracy.let { if (it == null) 0.0 else 100.0 * (it - accuracy.value) }
}

/** A file of the bundle, with what proves that it is whole. */
public data class FileEntry(val path: String, val sha256: String, val sizeBytes: Long)

/**
 * A few real inputs.
 *
 * @property file Tensors of the input's shape, one after the other (float32, before quantization).
 * @property count How many.
 * @property labels The class of each.
 */
public data class Samples(val file: String, val count: Int, val labels: List<Int>)

/**
 * Everything about a bundle.
 *
 * @property preprocessing How raw data becomes the input; docs/preprocessing.md describes it.
 * @property given The accuracy of the model that the bundle was built from, before its training.
 * @property maxLoss Points of accuracy that a branch's file may lose against its Keras network without being marked.
 * @property leftOut Why, by recipe, for branches that were built but lost too much.
 * @property targets The delegates that the branches were made for, if any were named.
 */
public data class Manifest @JvmOverloads constructor(
    val format: String,
    val name: String,
    val task: String,
    val backbone: String,
    val labels: List<String>,
    val preprocessing: Map<String, Any?>,
    val branches: List<Branch>,
    val files: List<FileEntry>,
    val samples: Samples,
    val created: String,
    val versions: Map<String, String>,
    val given: Accuracy? = null,
    val maxLoss: Double = MAX_LOSS,
    val leftOut: Map<String, String> = emptyMap(),
    val targets: List<String> = emptyList(),
) {
    /** Whether a branch's file lost more than the bundle's mark; what is exactly at it does not fall to rounding. */
    public fun lossy(branch: Branch): Boolean = branch.loss > maxLoss + 1e-9

    /**
     * The branch of that id.
     *
     * @throws BadInput There is none; the sentence lists the known ones.
     */
    public fun branch(id: String): Branch = branches.firstOrNull { it.id == id }
        ?: throw BadInput("The bundle has no branch '$id'; it has ${branches.joinToString(", ") { it.id }}.")

    public companion object {
        /** Points of accuracy that a branch's file may lose without being marked, where the bundle says nothing. */
        public const val MAX_LOSS: Double = 5.0
    }
}
