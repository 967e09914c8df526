package io.adascale.jvm

import io.adascale.AdaScaleError
import io.adascale.BadInput
import io.adascale.UnknownDelegate
import io.adascale.engines.FileModel
import io.adascale.engines.Model
import io.adascale.seams.Branch
import io.adascale.seams.Bundle
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.nio.ByteBuffer
import java.nio.FloatBuffer

class LiteRtOpenerTest {
    @TempDir
    lateinit var folder: File

    private fun model(bundle: Bundle, branch: Branch) = FileModel(bundle.path(branch.file))

    /** The largest difference between a branch's outputs and those that the bundle expects. */
    private fun difference(bundle: Bundle, branch: Branch, model: Model, delegate: String, threads: Int): Float {
        val inputs = Real.floats(bundle.path(bundle.manifest.samples.file))
        val expected = Real.floats(bundle.path(branch.expected))
        var worst = 0f
        Real.opener.open(model, branch, delegate, threads).use { runner ->
            val output = FloatArray(runner.outputSize)
            for (sample in 0 until bundle.manifest.samples.count.toInt()) {
                inputs.position(sample * runner.inputSize)
                runner.run(inputs, output)
                assertEquals(sample * runner.inputSize, inputs.position())
                for (index in output.indices) {
                    worst = Math.max(worst, Math.abs(output[index] - expected.get(sample * output.size + index)))
                }
            }
        }
        return worst
    }

    @Test
    fun `every branch answers the samples as the bundle expects`() {
        val bundle = Real.bundle("digits")
        assertTrue(bundle.manifest.branches.size > 3)
        for (branch in bundle.manifest.branches) {
            for (threads in 1..2) {
                val worst = difference(bundle, branch, model(bundle, branch), "cpu", threads)
                assertTrue(worst <= 1e-5f, "${branch.id} on $threads threads differs by $worst")
            }
        }
    }

    @Test
    fun `the kernels without XNNPACK answer alike`() {
        val bundle = Real.bundle("digits")
        val branch = bundle.manifest.branch("full")
        assertTrue(difference(bundle, branch, model(bundle, branch), "builtin", 1) <= 1e-4f)
    }

    @Test
    fun `a file in memory is a model, too`() {
        val bundle = Real.bundle("digits")
        val branch = bundle.manifest.branch("full")
        val mapped = model(bundle, branch).bytes()
        val model = object : Model {
            override val name = "an asset"
            override val file: File? = null
            override fun bytes(): ByteBuffer = mapped
        }
        assertTrue(difference(bundle, branch, model, "cpu", 1) <= 1e-5f)
    }

    @Test
    fun `broken files are errors`() {
        val bundle = Real.bundle("digits")
        val branch = bundle.manifest.branch("full")
        val whole = bundle.path(branch.file).readBytes()
        val broken = mapOf(
            "empty" to ByteArray(0),
            "zeros" to ByteArray(whole.size),
            "half" to whole.copyOf(whole.size / 2),
            "start" to whole.copyOf(64),
            "text" to "not a model at all, but long enough to look at".toByteArray(),
            "offset" to whole.copyOf().also { for (at in 0..3) it[at] = 0x7f },
        )
        for ((name, content) in broken) {
            val file = File(folder, "$name.tflite").apply { writeBytes(content) }
            val error = assertThrows(AdaScaleError::class.java, { Real.opener.open(FileModel(file), branch, "cpu", 1) }, name)
            assertTrue(name in error.sentence, error.sentence)
        }
        assertThrows(AdaScaleError::class.java) {
            Real.opener.open(FileModel(File(folder, "absent.tflite")), branch, "cpu", 1)
        }
    }

    @Test
    fun `a branch that is not what the manifest says is an error`() {
        val bundle = Real.bundle("digits")
        val branch = bundle.manifest.branch("full")
        val other = branch.copy(signature = "absent")
        val error = assertThrows(AdaScaleError::class.java) { Real.opener.open(model(bundle, branch), other, "cpu", 1) }
        assertTrue("no signature 'absent'" in error.sentence, error.sentence)
        val larger = branch.copy(input = branch.input.copy(shape = listOf(1, 99)))
        assertThrows(AdaScaleError::class.java) { Real.opener.open(model(bundle, branch), larger, "cpu", 1) }
        assertThrows(UnknownDelegate::class.java) { Real.opener.open(model(bundle, branch), branch, "gpu", 1) }
        assertThrows(BadInput::class.java) { Real.opener.open(model(bundle, branch), branch, "cpu", 0) }
    }

    @Test
    fun `a closed branch is an error, and closing twice is none`() {
        val bundle = Real.bundle("tiny")
        val branch = bundle.manifest.branch("tiny")
        val runner = Real.opener.open(model(bundle, branch), branch, "cpu", 1)
        val input = FloatBuffer.allocate(runner.inputSize)
        val output = FloatArray(runner.outputSize)
        assertThrows(AdaScaleError::class.java) { runner.run(FloatBuffer.allocate(3), output) }
        runner.run(input, output)
        runner.close()
        runner.close()
        assertThrows(AdaScaleError::class.java) { runner.run(input, output) }
    }

    @Test
    fun `a branch may answer NaN, which integers cannot`() {
        val bundle = Real.bundle("poisoned")
        val branch = bundle.manifest.branch("poisoned")
        Real.opener.open(model(bundle, branch), branch, "cpu", 1).use { runner ->
            val output = FloatArray(runner.outputSize)
            runner.run(FloatBuffer.allocate(runner.inputSize), output)
            assertTrue(output[0].isNaN())
            assertFalse(runner.finite)
        }
        val digits = Real.bundle("digits")
        for (one in digits.manifest.branches) {
            Real.opener.open(model(digits, one), one, "cpu", 1).use { assertEquals(one.output.scale != null, it.finite) }
        }
    }

    @Test
    fun `a library that is none is an error`() {
        Real.folder("tiny")
        Real.opener
        val error = assertThrows(UnknownDelegate::class.java) { LiteRtOpener.load(File(folder, "absent.so").path) }
        assertTrue("loaded already" in error.sentence, error.sentence)
        // One library a process: others are tried in processes of their own.
        val text = File(folder, "text.so").apply { writeText("nothing") }
        assertTrue("cannot be loaded" in loaded(text.path))
        assertTrue("There is no" in loaded(File(folder, "absent.so").path))
        val other = File("/lib/x86_64-linux-gnu/libm.so.6")
        if (other.isFile) assertTrue("is not LiteRT 2.3 or later" in loaded(other.path))
    }

    /** What another process says that loads a library. */
    private fun loaded(path: String): String {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val arguments = listOf(java, "-cp", System.getProperty("java.class.path"), Loading::class.java.name, path)
        val process = ProcessBuilder(arguments).redirectErrorStream(true).start()
        val said = process.inputStream.bufferedReader().readText()
        assertEquals(0, process.waitFor(), said)
        return said
    }
}

/** Loads a library and says what is wrong with it. */
object Loading {
    @JvmStatic
    fun main(arguments: Array<String>) {
        try {
            LiteRtOpener.load(arguments[0])
            println("It is loaded.")
        } catch (error: AdaScaleError) {
            println(error.sentence)
        }
    }
}
