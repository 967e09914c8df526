// What executes branches: the seam between sessions and LiteRT, which is another library on phones than on hosts.
package io.adascale.engines

import io.adascale.AdaScaleError
import io.adascale.UnknownDelegate
import io.adascale.seams.Branch
import java.io.Closeable
import java.nio.FloatBuffer

/** Opens branches on delegates. Thread-safe: a session also opens branches on a thread of its own. */
public interface Opener {
    /** The names of the delegates that it has on this device, the usual one first. */
    public val delegates: List<String>

    /**
     * Opens a branch and runs it once on zeros, so that the first real input finds everything allocated.
     *
     * LiteRT crashes on damaged files: look at them with [io.adascale.files.Tflite.check] first.
     *
     * @param model the branch's file.
     * @param branch its signature, input and output.
     * @param delegate one of [delegates]; it takes the whole branch, else this fails.
     * @param threads on how many threads, at least 1; accelerators do not look at it.
     * @throws AdaScaleError The branch cannot be opened; the sentence says why.
     * @throws UnknownDelegate There is no such delegate here.
     */
    public fun open(model: Model, branch: Branch, delegate: String, threads: Int): Runner
}

/** What every [Opener] is asked. */
public object Openers {
    /**
     * Refuses, before long work, a delegate that an opener does not have.
     *
     * @throws UnknownDelegate There is no such delegate here; the sentence names those that are.
     */
    @JvmStatic
    public fun check(opener: Opener, delegate: String) {
        val known = opener.delegates
        if (delegate !in known) {
            throw UnknownDelegate("There is no delegate '$delegate' here; choose among ${known.joinToString(", ")}.")
        }
    }
}

/**
 * An open branch. One caller at a time; the caller may be another thread each time.
 */
public interface Runner : Closeable {
    /** How many numbers an input has. */
    public val inputSize: Int

    /** How many numbers an output has. */
    public val outputSize: Int

    /** Whether no output can hold a NaN or an infinity: there is none behind integers. */
    public val finite: Boolean

    /** What it holds while it is open, in MB; NaN where nobody tells. */
    public val memoryMb: Double

    /**
     * Answers one input, and returns when the output has been read.
     *
     * @param input real numbers, preprocessed: [inputSize] from its position on, which is the same afterwards.
     * @param output takes the real-valued output: its first [outputSize] numbers.
     * @throws AdaScaleError The branch failed, or is closed.
     */
    public fun run(input: FloatBuffer, output: FloatArray)

    /** Gives back all that it holds. Closing twice is harmless. */
    override fun close()
}
