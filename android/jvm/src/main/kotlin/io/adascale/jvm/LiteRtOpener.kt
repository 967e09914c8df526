// LiteRT on desktops and servers.
package io.adascale.jvm

import io.adascale.BadInput
import io.adascale.UnknownDelegate
import io.adascale.engines.Model
import io.adascale.engines.Opener
import io.adascale.engines.Openers
import io.adascale.engines.Runner
import io.adascale.files.Tflite
import io.adascale.seams.Branch
import java.nio.FloatBuffer

/**
 * Opens branches with LiteRT's C library on this machine's CPU. Thread-safe.
 *
 * `cpu` is LiteRT with XNNPACK, `builtin` its own optimized kernels without it. Files are looked at first ([Tflite]);
 * one that passes and crashes LiteRT all the same ends the process: open bundles whose origin you trust.
 */
public class LiteRtOpener private constructor(private val library: LiteRt) : Opener {
    override val delegates: List<String> = listOf("cpu", "builtin")

    override fun open(model: Model, branch: Branch, delegate: String, threads: Int): Runner {
        Openers.check(this, delegate)
        if (threads !in 1..MOST_THREADS) throw BadInput("A branch cannot run on $threads threads; give 1 to $MOST_THREADS.")
        Tflite.check(model.bytes(), model.name, branch)
        val runner = Compiled(library, model, branch, threads, if (delegate == "cpu") "xnnpack" else delegate)
        try {
            runner.run(FloatBuffer.allocate(runner.inputSize), FloatArray(runner.outputSize))
        } catch (error: RuntimeException) {
            runner.close()
            throw error
        }
        return runner
    }

    public companion object {
        /** The system property that names the library; `ADASCALE_LITERT` in the environment does so, too. */
        public const val PROPERTY: String = "adascale.litert"
        private const val MOST_THREADS = 1024

        /**
         * The library of a file, loaded once a process.
         *
         * @param path `libLiteRt.so` of LiteRT 2.3 or later for this processor, such as the one in the Python package
         * `ai-edge-litert`; by default what [PROPERTY] or `ADASCALE_LITERT` name.
         * @throws UnknownDelegate There is none, or it cannot be loaded.
         */
        @JvmStatic
        @JvmOverloads
        public fun load(path: String? = null): LiteRtOpener {
            val named = path ?: System.getProperty(PROPERTY).orEmpty().ifEmpty { System.getenv("ADASCALE_LITERT") }
            if (named.isNullOrEmpty()) {
                throw UnknownDelegate("Nothing names LiteRT's library; set -D$PROPERTY=PATH/libLiteRt.so.")
            }
            return LiteRtOpener(LiteRt.load(named))
        }
    }
}
