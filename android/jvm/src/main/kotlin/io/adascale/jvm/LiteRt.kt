// LiteRT's C library (litert/c/*.h of version 2.3), called directly: nothing is made for a call.
package io.adascale.jvm

import com.sun.jna.Callback
import com.sun.jna.Memory
import com.sun.jna.Native
import com.sun.jna.NativeLibrary
import com.sun.jna.Pointer
import io.adascale.AdaScaleError
import io.adascale.UnknownDelegate
import java.io.File

/** What LiteRT calls when it is done with options. */
internal interface Done : Callback {
    fun invoke(payload: Pointer?)
}

/** The functions. Sizes and 64-bit numbers are `Long`: processes of 32 bits are refused. */
@Suppress("FunctionName", "LongParameterList")
internal object Functions {
    @JvmStatic external fun LiteRtCreateEnvironment(count: Int, options: Pointer, made: Pointer): Int
    @JvmStatic external fun LiteRtCreateModelFromFile(environment: Pointer, path: Pointer, made: Pointer): Int
    @JvmStatic external fun LiteRtCreateModelFromBuffer(
        environment: Pointer, bytes: Pointer, size: Long, made: Pointer,
    ): Int
    @JvmStatic external fun LiteRtGetNumModelSignatures(model: Pointer, count: Pointer): Int
    @JvmStatic external fun LiteRtGetModelSignature(model: Pointer, index: Long, made: Pointer): Int
    @JvmStatic external fun LiteRtGetSignatureKey(signature: Pointer, key: Pointer): Int
    @JvmStatic external fun LiteRtCreateOptions(made: Pointer): Int
    @JvmStatic external fun LiteRtSetOptionsHardwareAccelerators(options: Pointer, hardware: Int): Int
    @JvmStatic external fun LiteRtCreateOpaqueOptions(kind: Pointer, text: Pointer, done: Done, made: Pointer): Int
    @JvmStatic external fun LiteRtAddOpaqueOptions(options: Pointer, more: Pointer): Int
    @JvmStatic external fun LiteRtCreateCompiledModel(
        environment: Pointer, model: Pointer, options: Pointer, made: Pointer,
    ): Int
    @JvmStatic external fun LiteRtGetNumSignatureInputs(signature: Pointer, count: Pointer): Int
    @JvmStatic external fun LiteRtGetNumSignatureOutputs(signature: Pointer, count: Pointer): Int
    @JvmStatic external fun LiteRtGetSignatureInputTensorByIndex(signature: Pointer, index: Long, made: Pointer): Int
    @JvmStatic external fun LiteRtGetSignatureOutputTensorByIndex(signature: Pointer, index: Long, made: Pointer): Int
    @JvmStatic external fun LiteRtGetRankedTensorType(tensor: Pointer, type: Pointer): Int
    @JvmStatic external fun LiteRtGetCompiledModelInputBufferRequirements(
        model: Pointer, signature: Long, index: Long, made: Pointer,
    ): Int
    @JvmStatic external fun LiteRtGetCompiledModelOutputBufferRequirements(
        model: Pointer, signature: Long, index: Long, made: Pointer,
    ): Int
    @JvmStatic external fun LiteRtCreateManagedTensorBufferFromRequirements(
        environment: Pointer, type: Pointer, needs: Pointer, made: Pointer,
    ): Int
    @JvmStatic external fun LiteRtGetTensorBufferPackedSize(buffer: Pointer, size: Pointer): Int
    @JvmStatic external fun LiteRtLockTensorBuffer(buffer: Pointer, where: Pointer, mode: Int): Int
    @JvmStatic external fun LiteRtUnlockTensorBuffer(buffer: Pointer): Int
    @JvmStatic external fun LiteRtRunCompiledModel(
        model: Pointer, signature: Long, inputs: Long, input: Pointer, outputs: Long, output: Pointer,
    ): Int
    @JvmStatic external fun LiteRtDestroyModel(model: Pointer)
    @JvmStatic external fun LiteRtDestroyCompiledModel(model: Pointer)
    @JvmStatic external fun LiteRtDestroyTensorBuffer(buffer: Pointer)
    @JvmStatic external fun LiteRtDestroyOptions(options: Pointer)
}

/** The loaded library with its environment; one a process. */
internal class LiteRt private constructor(val path: String) {
    /** The environment that all models live in. */
    val environment: Pointer

    /** What the environment was given: kept, since nothing says that it is copied. */
    private val given = ArrayList<Memory>()

    init {
        if (Native.POINTER_SIZE != 8) throw UnknownDelegate("LiteRT needs a process of 64 bits; use another Java.")
        val library = try {
            NativeLibrary.getInstance(path)
        } catch (error: UnsatisfiedLinkError) {
            throw UnknownDelegate("$path cannot be loaded (${error.message}); give the libLiteRt.so for this processor.")
        }
        try {
            Native.register(Functions::class.java, library)
        } catch (error: UnsatisfiedLinkError) {
            throw UnknownDelegate("$path is not LiteRT 2.3 or later (${error.message}); get a newer libLiteRt.so.")
        }
        environment = start(File(path).parent)
    }

    /** An environment that logs errors only, and looks for accelerators in a folder. */
    private fun start(folder: String): Pointer {
        val options = Memory(3L * OPTION)
        options.clear()
        val place = text(folder).also { given.add(it) }
        for ((number, tag) in intArrayOf(RUNTIME, DISPATCH).withIndex()) {
            options.setInt(number * OPTION, tag)
            options.setInt(number * OPTION + TYPE, STRING)
            options.setPointer(number * OPTION + VALUE, place)
        }
        options.setInt(2 * OPTION, SEVERITY)
        options.setInt(2 * OPTION + TYPE, INT)
        options.setLong(2 * OPTION + VALUE, ERRORS_ONLY)
        given.add(options)
        return made("start LiteRT") { Functions.LiteRtCreateEnvironment(3, options, it) }
    }

    companion object {
        /** Loaded once: a second environment would start all accelerators again. */
        private var loaded: LiteRt? = null

        /** The library of a file; of one file a process. */
        @Synchronized
        fun load(path: String): LiteRt {
            val file = File(path).absoluteFile
            val known = loaded
            if (known != null && known.path == file.path) return known
            if (known != null) throw UnknownDelegate("${known.path} is loaded already; use one LiteRT in a process.")
            if (!file.isFile) throw UnknownDelegate("There is no $file; give the libLiteRt.so for this processor.")
            return LiteRt(file.path).also { loaded = it }
        }

        /** Turns a status that is not 0 into an error: "LiteRT could not WHAT". */
        fun check(status: Int, what: String) {
            if (status != 0) throw AdaScaleError("LiteRT could not $what (status $status).")
        }

        /** A handle from a function that puts it into a place of eight bytes. */
        inline fun made(what: String, call: (Pointer) -> Int): Pointer {
            val place = Memory(Native.POINTER_SIZE.toLong())
            place.clear()
            check(call(place), what)
            return place.getPointer(0) ?: throw AdaScaleError("LiteRT could not $what (it gave nothing).")
        }

        /** A number from a function that puts it into a place of eight bytes. */
        inline fun number(what: String, call: (Pointer) -> Int): Long {
            val place = Memory(8L)
            place.clear()
            check(call(place), what)
            return place.getLong(0)
        }

        /** A text as C keeps it. */
        fun text(value: String): Memory {
            val bytes = value.toByteArray(Charsets.UTF_8)
            val memory = Memory(bytes.size + 1L)
            memory.write(0, bytes, 0, bytes.size)
            memory.setByte(bytes.size.toLong(), 0)
            return memory
        }

        // LiteRtEnvOption: a tag, then a LiteRtAny of a type and a value.
        private const val OPTION = 24L
        private const val TYPE = 8L
        private const val VALUE = 16L
        private const val STRING = 8 // LiteRtAnyType
        private const val INT = 2
        private const val DISPATCH = 1 // LiteRtEnvOptionTag
        private const val RUNTIME = 22
        private const val SEVERITY = 25
        private const val ERRORS_ONLY = 3L // LiteRtLogSeverity
    }
}
