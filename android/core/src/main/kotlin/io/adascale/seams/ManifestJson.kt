// Manifests as JSON: the fields of each class under their names in the format `adascale-bundle/1`.
package io.adascale.seams

import io.adascale.files.Codec
import io.adascale.files.Decode
import io.adascale.files.Fields

internal object ManifestJson {
    val decode: Decode<Manifest> = { data, where ->
        val fields = Fields(data, where)
        Manifest(
            format = fields.need("format", Codec.string),
            name = fields.need("name", Codec.string),
            task = fields.need("task", Codec.string),
            backbone = fields.need("backbone", Codec.string),
            labels = fields.need("labels", Codec.list(Codec.string)),
            preprocessing = fields.need("preprocessing", Codec.anything),
            branches = fields.need("branches", Codec.list(branch)),
            files = fields.need("files", Codec.list(entry)),
            samples = fields.need("samples", samples),
            created = fields.need("created", Codec.string),
            versions = fields.need("versions", Codec.strings),
            given = fields.maybe("given", accuracy),
            maxLoss = fields.get("max_loss", Manifest.MAX_LOSS, Codec.double),
            leftOut = fields.get("left_out", emptyMap(), Codec.strings),
            targets = fields.get("targets", emptyList(), Codec.list(Codec.string)),
        )
    }

    private val tensor: Decode<TensorSpec> = { data, where ->
        val fields = Fields(data, where)
        TensorSpec(
            fields.need("name", Codec.string), fields.need("shape", Codec.list(Codec.int)),
            fields.need("dtype", Codec.string), fields.maybe("scale", Codec.double),
            fields.maybe("zero_point", Codec.int),
        )
    }

    private val accuracy: Decode<Accuracy> = { data, where ->
        val fields = Fields(data, where)
        Accuracy(
            fields.need("metric", Codec.string), fields.need("value", Codec.double),
            fields.need("samples", Codec.long), fields.need("split", Codec.string),
        )
    }

    private val verification: Decode<Verification> = { data, where ->
        val fields = Fields(data, where)
        Verification(
            fields.need("samples", Codec.long), fields.need("agreement", Codec.double),
            fields.need("max_abs_difference", Codec.double), fields.need("output_range", Codec.double),
        )
    }

    private val cost: Decode<Cost> = { data, where ->
        val fields = Fields(data, where)
        Cost(
            macs = fields.need("macs", Codec.long),
            params = fields.need("params", Codec.long),
            weightBytes = fields.need("weight_bytes", Codec.long),
            activationBytes = fields.need("activation_bytes", Codec.long),
            peakBytes = fields.need("peak_bytes", Codec.long),
            ops = fields.need("ops", Codec.long),
            kernels = fields.get("kernels", emptyMap(), Codec.dict(Codec.numbers)),
            arithmetic = fields.get("arithmetic", "", Codec.string),
        )
    }

    private val compiled: Decode<Compiled> = { data, where ->
        val fields = Fields(data, where)
        Compiled(
            vendor = fields.need("vendor", Codec.string),
            chip = fields.need("chip", Codec.string),
            file = fields.need("file", Codec.string),
            operators = fields.need("operators", Codec.long),
            taken = fields.need("taken", Codec.long),
            partitions = fields.need("partitions", Codec.long),
            compiler = fields.get("compiler", "", Codec.string),
            verification = fields.maybe("verification", verification),
        )
    }

    val branch: Decode<Branch> = { data, where ->
        val fields = Fields(data, where)
        Branch(
            id = fields.need("id", Codec.string),
            recipe = fields.need("recipe", Codec.string),
            exit = fields.need("exit", Codec.int),
            precision = fields.need("precision", Codec.string),
            file = fields.need("file", Codec.string),
            signature = fields.need("signature", Codec.string),
            sizeBytes = fields.need("size_bytes", Codec.long),
            input = fields.need("input", tensor),
            output = fields.need("output", tensor),
            cost = fields.need("cost", cost),
            accuracy = fields.need("accuracy", accuracy),
            verification = fields.need("verification", verification),
            expected = fields.need("expected", Codec.string),
            training = fields.get("training", emptyMap(), Codec.anything),
            support = fields.get("support", emptyList(), Codec.list(Support.decode)),
            minRuntime = fields.get("min_runtime", "", Codec.string),
            compiled = fields.get("compiled", emptyList(), Codec.list(compiled)),
        )
    }

    private val entry: Decode<FileEntry> = { data, where ->
        val fields = Fields(data, where)
        FileEntry(
            fields.need("path", Codec.string), fields.need("sha256", Codec.string),
            fields.need("size_bytes", Codec.long),
        )
    }

    private val samples: Decode<Samples> = { data, where ->
        val fields = Fields(data, where)
        Samples(
            fields.need("file", Codec.string), fields.need("count", Codec.int),
            fields.need("labels", Codec.list(Codec.int)),
        )
    }

    fun toJson(manifest: Manifest): Map<String, Any?> = linkedMapOf(
        "format" to manifest.format, "name" to manifest.name, "task" to manifest.task,
        "backbone" to manifest.backbone, "labels" to manifest.labels, "preprocessing" to manifest.preprocessing,
        "branches" to manifest.branches.map { branchJson(it) },
        "files" to manifest.files.map {
            linkedMapOf("path" to it.path, "sha256" to it.sha256, "size_bytes" to it.sizeBytes)
        },
        "samples" to manifest.samples.let {
            linkedMapOf("file" to it.file, "count" to it.count, "labels" to it.labels)
        },
        "created" to manifest.created, "versions" to manifest.versions,
        "given" to manifest.given?.let { accuracyJson(it) }, "max_loss" to manifest.maxLoss,
        "left_out" to manifest.leftOut, "targets" to manifest.targets,
    )

    private fun branchJson(branch: Branch) = linkedMapOf(
        "id" to branch.id, "recipe" to branch.recipe, "exit" to branch.exit, "precision" to branch.precision,
        "file" to branch.file, "signature" to branch.signature, "size_bytes" to branch.sizeBytes,
        "input" to tensorJson(branch.input), "output" to tensorJson(branch.output), "cost" to costJson(branch.cost),
        "accuracy" to accuracyJson(branch.accuracy), "verification" to verificationJson(branch.verification),
        "expected" to branch.expected, "training" to branch.training,
        "support" to branch.support.map { it.toJson() }, "min_runtime" to branch.minRuntime,
        "compiled" to branch.compiled.map { compiledJson(it) },
    )

    private fun tensorJson(spec: TensorSpec) = linkedMapOf(
        "name" to spec.name, "shape" to spec.shape, "dtype" to spec.dtype, "scale" to spec.scale,
        "zero_point" to spec.zeroPoint,
    )

    private fun accuracyJson(accuracy: Accuracy) = linkedMapOf(
        "metric" to accuracy.metric, "value" to accuracy.value, "samples" to accuracy.samples,
        "split" to accuracy.split,
    )

    private fun verificationJson(one: Verification) = linkedMapOf(
        "samples" to one.samples, "agreement" to one.agreement, "max_abs_difference" to one.maxAbsDifference,
        "output_range" to one.outputRange,
    )

    private fun costJson(cost: Cost) = linkedMapOf(
        "macs" to cost.macs, "params" to cost.params, "weight_bytes" to cost.weightBytes,
        "activation_bytes" to cost.activationBytes, "peak_bytes" to cost.peakBytes, "ops" to cost.ops,
        "kernels" to cost.kernels, "arithmetic" to cost.arithmetic,
    )

    private fun compiledJson(one: Compiled) = linkedMapOf(
        "vendor" to one.vendor, "chip" to one.chip, "file" to one.file, "operators" to one.operators,
        "taken" to one.taken, "partitions" to one.partitions, "compiler" to one.compiler,
        "verification" to one.verification?.let { verificationJson(it) },
    )
}
