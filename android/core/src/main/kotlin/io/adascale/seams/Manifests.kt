// Checks of a manifest's values, beyond their types, before anything is computed with them.
package io.adascale.seams

import io.adascale.BadBundle
import io.adascale.BadInput
import io.adascale.Text

/** What manifests may say. */
public object Manifests {
    /** Values of one input or output at most. */
    public const val MOST_VALUES: Long = 1L shl 28

    /** Values of all samples together at most. */
    public const val MOST_SAMPLES: Long = 1L shl 30

    /** Dimensions of a tensor at most. */
    public const val MOST_DIMENSIONS: Int = 8

    /** The task of bundles of micro-kernels, whose branches have nothing in common and need no samples. */
    public const val CALIBRATION: String = "calibration"

    /** The types of a branch's border. */
    @JvmField
    public val DTYPES: List<String> = listOf("float32", "int8", "uint8", "int16", "int32")

    /** What the zero point of an integer may be. */
    private val ZERO_POINTS = mapOf("int8" to -128..127, "uint8" to 0..255, "int16" to -32768..32767)

    /** Bytes of a value in the files of samples. */
    private const val FLOAT = 4L

    /**
     * Refuse a manifest whose numbers do not fit together.
     *
     * @param where Where it was read, for the sentence.
     * @throws BadBundle Names [where] and the place there.
     */
    @JvmStatic
    public fun check(manifest: Manifest, where: String) {
        checkPaths(manifest, where)
        checkNames(manifest, where)
        val first = manifest.branches[0]
        for (branch in manifest.branches) {
            problem(branch)?.let { throw refused("$where: branch '${Text.excerpt(branch.id)}' $it") }
            val same = branch.input.shape == first.input.shape && branch.output.shape == first.output.shape
            if (manifest.task != CALIBRATION && !same) {
                throw refused("$where: branch '${Text.excerpt(branch.id)}' has other shapes than the first one")
            }
        }
        checkSamples(manifest, where)
    }

    private fun refused(sentence: String) = BadBundle("$sentence; build the bundle again.")

    private fun checkPaths(manifest: Manifest, where: String) {
        val listed = HashSet<String>()
        for (entry in manifest.files) {
            val path = entry.path
            if (path.startsWith("/") || '\\' in path || '\u0000' in path || ".." in path.split("/")) {
                throw BadBundle("$where names '${Text.excerpt(path)}', which lies outside the bundle; do not use it.")
            }
            if (!listed.add(path)) throw refused("$where lists '${Text.excerpt(path)}' twice")
        }
        val needed = arrayListOf(manifest.samples.file)
        for (branch in manifest.branches) {
            needed.add(branch.file)
            needed.add(branch.expected)
            branch.compiled.mapTo(needed) { it.file }
        }
        for (path in needed) {
            if (path !in listed) throw refused("$where uses '${Text.excerpt(path)}' but gives no checksum for it")
        }
    }

    private fun checkNames(manifest: Manifest, where: String) {
        if (manifest.branches.isEmpty()) throw refused("$where lists no branch")
        val seen = HashSet<String>()
        for (branch in manifest.branches) {
            if (Text.strip(branch.id).isEmpty() || !seen.add(branch.id)) {
                throw refused("$where has a branch without a name, or '${Text.excerpt(branch.id)}' twice")
            }
        }
    }

    /** What is wrong with a branch first; null if nothing is. */
    private fun problem(branch: Branch): String? {
        precisionProblem(branch)?.let { return it }
        if (branch.exit < 1 || branch.sizeBytes < 0) return "has an exit below 1 or a negative size"
        val shares = listOf("accuracy" to branch.accuracy.value, "agreement" to branch.verification.agreement)
        for ((name, share) in shares) {
            if (!isShare(share)) return "has the $name ${Text.general(share)}, which is not between 0 and 1"
        }
        if (branch.accuracy.samples < 0 || branch.verification.samples < 0) {
            return "was measured on a negative number of samples"
        }
        for ((name, spec) in listOf("input" to branch.input, "output" to branch.output)) {
            tensorProblem(spec)?.let { return "has an $name $it" }
        }
        costProblem(branch.cost)?.let { return it }
        for (one in branch.support) {
            if (!fits(one.operators, one.taken, one.partitions)) {
                return "says that '${Text.excerpt(one.delegate)}' takes ${one.taken} of ${one.operators} operators " +
                    "in ${one.partitions} parts"
            }
        }
        return compiledProblem(branch)
    }

    private fun isShare(value: Double) = 0.0 <= value && value <= 1.0

    private fun fits(operators: Long, taken: Long, partitions: Long): Boolean =
        taken in 0..operators && partitions in 0..Math.max(1, taken)

    private fun compiledProblem(branch: Branch): String? {
        val seen = HashSet<Pair<String, String>>()
        for (one in branch.compiled) {
            val chip = Text.excerpt(one.chip)
            val named = Text.strip(one.vendor).isNotEmpty() && Text.strip(one.chip).isNotEmpty()
            if (!named || !seen.add(Pair(one.vendor, one.chip))) {
                return "has a compiled file without a vendor or chip, or two for '$chip'"
            }
            if (one.file == branch.file) return "has a compiled file for '$chip' that is its portable one"
            if (!fits(one.operators, one.taken, one.partitions)) {
                return "has a compiled file for '$chip' with ${one.taken} of ${one.operators} operators in " +
                    "${one.partitions} parts"
            }
            val agreement = one.verification?.agreement
            if (agreement != null && !isShare(agreement)) {
                return "has the agreement ${Text.general(agreement)} for '$chip', which is not between 0 and 1"
            }
        }
        return null
    }

    private fun precisionProblem(branch: Branch): String? = try {
        Precisions.arithmetic(branch.precision, branch.cost.arithmetic)
        null
    } catch (_: BadInput) {
        "has the precision '${Text.excerpt(branch.precision)}' of the arithmetic " +
            "'${Text.excerpt(branch.cost.arithmetic)}', but this program knows the arithmetics " +
            Precisions.ARITHMETICS.joinToString(", ")
    }

    private fun tensorProblem(spec: TensorSpec): String? {
        val shape = spec.shape
        if (shape.size !in 1..MOST_DIMENSIONS || shape.any { it < 1 } || shape[0] != 1 || values(spec) > MOST_VALUES) {
            return "of the shape ${Text.excerpt(shape)}, but it needs a batch of 1 and at most 268,435,456 values"
        }
        if (spec.dtype !in DTYPES) {
            return "of type '${Text.excerpt(spec.dtype)}', but this program knows ${DTYPES.joinToString(", ")}"
        }
        val scale = spec.scale
        val zeroPoint = spec.zeroPoint
        if (scale == null && zeroPoint == null) return null
        if (scale == null || zeroPoint == null || !(1e-30 < scale && scale < 1e30)) {
            return "whose scale ${scale?.let { Text.repr(it) } ?: "None"} and zero point ${zeroPoint ?: "None"} are " +
                "not those of integers"
        }
        if (zeroPoint !in (ZERO_POINTS[spec.dtype] ?: return null)) {
            return "whose zero point $zeroPoint is out of the range of ${spec.dtype}"
        }
        return null
    }

    /** How many values a tensor has; more than [MOST_VALUES] stands for any number above it. */
    private fun values(spec: TensorSpec): Long {
        var product = 1L
        for (size in spec.shape) {
            product *= size
            if (product > MOST_VALUES) return product
        }
        return product
    }

    private fun costProblem(cost: Cost): String? {
        val counted = listOf(
            cost.macs, cost.params, cost.weightBytes, cost.activationBytes, cost.peakBytes, cost.ops,
        )
        if (counted.any { it < 0 } || cost.kernels.values.any { sums -> sums.values.any { it < 0 } }) {
            return "has a negative cost"
        }
        for (bound in cost.kernels["reuse"].orEmpty().keys) {
            val number = bound.isNotEmpty() && bound.all { it in '0'..'9' } && bound.length < 20
            if (!number || bound.all { it == '0' }) {
                return "has the distance of reuse '${Text.excerpt(bound)}', which is not a valid number of bytes"
            }
        }
        return null
    }

    private fun checkSamples(manifest: Manifest, where: String) {
        val samples = manifest.samples
        val least = if (manifest.task == CALIBRATION) 0 else 1
        if (samples.count < least || samples.labels.size != samples.count) {
            throw refused("$where has ${samples.count} samples with ${samples.labels.size} labels")
        }
        if (samples.labels.any { it !in manifest.labels.indices }) {
            throw refused("$where has samples of classes that its ${manifest.labels.size} labels do not name")
        }
        val sizes = manifest.files.associate { it.path to it.sizeBytes }
        val wanted = arrayListOf(samples.file to manifest.branches[0].input)
        manifest.branches.mapTo(wanted) { it.expected to it.output }
        for ((path, spec) in wanted) {
            val values = samples.count * values(spec)
            if (values > MOST_SAMPLES || sizes[path] != values * FLOAT) {
                throw refused(
                    "$where: '${Text.excerpt(path)}' has ${sizes[path]} bytes, but ${samples.count} samples of the " +
                        "shape ${Text.excerpt(spec.shape)} need ${values * FLOAT}",
                )
            }
        }
    }
}
