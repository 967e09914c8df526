package io.adascale.jvm

import com.sun.jna.Memory
import com.sun.jna.Pointer
import io.adascale.AdaScaleError
import io.adascale.engines.Model
import io.adascale.engines.Runner
import io.adascale.engines.Tensors
import io.adascale.seams.Branch
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * One signature of a .tflite file, compiled for the CPU.
 *
 * @param kernels LiteRT's word for the kernels: `xnnpack` or `builtin`.
 */
internal class Compiled(
    private val library: LiteRt, model: Model, private val branch: Branch, threads: Int, kernels: String,
) : Runner {
    private val source = Tensors(branch.input)
    private val target = Tensors(branch.output)
    private val what = "${model.name}, signature '${branch.signature}'"

    /** What has to be given back, the latest last. */
    private val owned = ArrayList<() -> Unit>()

    /** What LiteRT looks at later: the file's bytes, and the text of options. */
    private val kept = ArrayList<Any>()

    private val compiled: Pointer
    private val signature: Long
    private val input: Place
    private val output: Place
    private var closed = false

    override val inputSize: Int get() = source.size
    override val outputSize: Int get() = target.size
    override val finite: Boolean get() = target.finite
    override val memoryMb: Double get() = Double.NaN

    init {
        try {
            val opened = open(model)
            signature = find(opened)
            val found = LiteRt.made("read a signature") { Functions.LiteRtGetModelSignature(opened, signature, it) }
            checkBorders(found)
            val options = options(threads, kernels)
            compiled = LiteRt.made("compile $what") {
                Functions.LiteRtCreateCompiledModel(library.environment, opened, options, it)
            }
            owned.add { Functions.LiteRtDestroyCompiledModel(compiled) }
            input = place(
                source,
                LiteRt.made("find the input") { Functions.LiteRtGetSignatureInputTensorByIndex(found, 0, it) },
                LiteRt.made("size the input") {
                    Functions.LiteRtGetCompiledModelInputBufferRequirements(compiled, signature, 0, it)
                },
            )
            output = place(
                target,
                LiteRt.made("find the output") { Functions.LiteRtGetSignatureOutputTensorByIndex(found, 0, it) },
                LiteRt.made("size the output") {
                    Functions.LiteRtGetCompiledModelOutputBufferRequirements(compiled, signature, 0, it)
                },
            )
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    private fun open(model: Model): Pointer {
        val file = model.file
        val opened = if (file != null) {
            val path = LiteRt.text(file.absolutePath)
            LiteRt.made("load ${model.name}") {
                Functions.LiteRtCreateModelFromFile(library.environment, path, it)
            }
        } else {
            val bytes = model.bytes().also { kept.add(it) }
            val start = com.sun.jna.Native.getDirectBufferPointer(bytes)
            LiteRt.made("load ${model.name}") {
                Functions.LiteRtCreateModelFromBuffer(library.environment, start, bytes.capacity().toLong(), it)
            }
        }
        owned.add { Functions.LiteRtDestroyModel(opened) }
        return opened
    }

    private fun find(model: Pointer): Long {
        val count = LiteRt.number("read signatures") { Functions.LiteRtGetNumModelSignatures(model, it) }
        for (index in 0 until count) {
            val one = LiteRt.made("read a signature") { Functions.LiteRtGetModelSignature(model, index, it) }
            val key = LiteRt.made("read a signature") { Functions.LiteRtGetSignatureKey(one, it) }
            if (key.getString(0, "UTF-8") == branch.signature) return index
        }
        throw AdaScaleError("${what.substringBefore(", sig")} has no signature '${branch.signature}'; build the bundle again.")
    }

    private fun checkBorders(found: Pointer) {
        val inputs = LiteRt.number("count inputs") { Functions.LiteRtGetNumSignatureInputs(found, it) }
        val outputs = LiteRt.number("count outputs") { Functions.LiteRtGetNumSignatureOutputs(found, it) }
        if (inputs != 1L || outputs != 1L) {
            throw AdaScaleError("$what has $inputs inputs and $outputs outputs; branches have one of each.")
        }
    }

    private fun options(threads: Int, kernels: String): Pointer {
        val options = LiteRt.made("make options") { Functions.LiteRtCreateOptions(it) }
        owned.add { Functions.LiteRtDestroyOptions(options) }
        LiteRt.check(Functions.LiteRtSetOptionsHardwareAccelerators(options, CPU), "set the accelerator")
        val kind = LiteRt.text("xnnpack")
        val text = LiteRt.text("kernel_mode = \"$kernels\"\nnum_threads = $threads\n")
        kept.add(kind)
        kept.add(text)
        val more = LiteRt.made("make options") { Functions.LiteRtCreateOpaqueOptions(kind, text, NOTHING, it) }
        LiteRt.check(Functions.LiteRtAddOpaqueOptions(options, more), "set options")
        return options
    }

    private fun place(tensor: Tensors, described: Pointer, needs: Pointer): Place {
        val type = Memory(512L) // a LiteRtRankedTensorType, which is smaller
        LiteRt.check(Functions.LiteRtGetRankedTensorType(described, type), "read a tensor's type")
        val buffer = LiteRt.made("make a buffer") {
            Functions.LiteRtCreateManagedTensorBufferFromRequirements(library.environment, type, needs, it)
        }
        owned.add { Functions.LiteRtDestroyTensorBuffer(buffer) }
        val size = LiteRt.number("size a buffer") { Functions.LiteRtGetTensorBufferPackedSize(buffer, it) }
        if (size != tensor.bytes.toLong()) {
            throw AdaScaleError("$what has a tensor of $size bytes instead of ${tensor.bytes}; build the bundle again.")
        }
        return Place(buffer, tensor.bytes)
    }

    override fun run(input: FloatBuffer, output: FloatArray) {
        if (closed) throw AdaScaleError("The branch ${branch.id} is closed; open it again.")
        if (input.remaining() < source.size) {
            throw AdaScaleError("The input has ${input.remaining()} numbers; the branch takes ${source.size}.")
        }
        source.write(input, this.input.lock(WRITE))
        this.input.unlock()
        val status = Functions.LiteRtRunCompiledModel(
            compiled, signature, 1, this.input.handles, 1, this.output.handles,
        )
        if (status != 0) throw AdaScaleError("LiteRT failed to run the branch ${branch.id} (status $status).")
        target.read(this.output.lock(READ), output)
        this.output.unlock()
    }

    override fun close() {
        closed = true
        while (owned.isNotEmpty()) owned.removeAt(owned.size - 1)()
    }

    /** A tensor's buffer; its memory is looked at anew only when LiteRT has moved it. */
    private class Place(private val buffer: Pointer, private val bytes: Int) {
        /** The array of buffers that a run takes. */
        val handles: Memory = Memory(8L).also { it.setPointer(0, buffer) }
        private val where = Memory(8L).also { it.clear() }
        private var address = 0L
        private var stored = Tensors.Stored(ByteBuffer.allocateDirect(0))

        fun lock(mode: Int): Tensors.Stored {
            LiteRt.check(Functions.LiteRtLockTensorBuffer(buffer, where, mode), "lock a tensor's buffer")
            val now = where.getLong(0)
            if (now != address) {
                val view = Pointer(now).getByteBuffer(0, bytes.toLong()).order(ByteOrder.nativeOrder())
                stored = Tensors.Stored(view)
                address = now
            }
            return stored
        }

        fun unlock() {
            LiteRt.check(Functions.LiteRtUnlockTensorBuffer(buffer), "unlock a tensor's buffer")
        }
    }

    private companion object {
        const val CPU = 1 // LiteRtHwAccelerators
        const val READ = 0 // LiteRtTensorBufferLockMode
        const val WRITE = 1

        /** The text of options belongs to this side. */
        val NOTHING = object : Done {
            override fun invoke(payload: Pointer?) = Unit
        }
    }
}
