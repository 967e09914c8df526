package io.adascale.files

import io.adascale.BadBundle
import io.adascale.seams.Branch
import io.adascale.seams.Bundle
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.nio.ByteBuffer
import java.util.Random

/** Real files of bundles that `python -m tests.vectors.bundles` wrote, whole and damaged. */
class TfliteTest {
    private fun bundle(name: String): Bundle {
        val vectors = System.getProperty("adascale.vectors").orEmpty()
        val folder = File(vectors, "bundles/$name")
        if (vectors.isEmpty() || !folder.isDirectory) println("skipped: no bundles in -Dadascale.vectors")
        assumeTrue(vectors.isNotEmpty() && folder.isDirectory, "no bundles")
        return Bundle.load(folder)
    }

    private fun check(content: ByteArray, branch: Branch) {
        Tflite.check(ByteBuffer.wrap(content), "a file", branch)
    }

    @Test
    fun `whole files are what the manifest says`() {
        for (name in listOf("digits", "tiny", "poisoned")) {
            val bundle = bundle(name)
            // The tiny ones were written with costs that are none.
            for (branch in bundle.manifest.branches) check(bundle.path(branch.file).readBytes(), branch)
        }
    }

    @Test
    fun `other borders than those of the manifest are told`() {
        val bundle = bundle("digits")
        val branch = bundle.manifest.branch("int8")
        val content = bundle.path(branch.file).readBytes()
        val input = branch.input
        for (other in listOf(
            branch.copy(signature = "absent"),
            branch.copy(input = input.copy(name = "y")),
            branch.copy(input = input.copy(shape = listOf(1, 3))),
            branch.copy(input = input.copy(dtype = "uint8")),
            branch.copy(input = input.copy(scale = 2.0 * checkNotNull(input.scale))),
            branch.copy(input = input.copy(zeroPoint = 7)),
            branch.copy(output = branch.output.copy(scale = null, zeroPoint = null)),
        )) {
            val error = assertThrows(BadBundle::class.java) { check(content, other) }
            assertTrue("is not what its file" in error.sentence, error.sentence)
        }
    }

    @Test
    fun `whatever is damaged, nothing but a sentence comes back`() {
        val bundle = bundle("digits")
        val random = Random(1)
        var refused = 0
        for (branch in bundle.manifest.branches) {
            val whole = bundle.path(branch.file).readBytes()
            repeat(400) { round ->
                val content = if (round % 4 == 0) whole.copyOf(random.nextInt(whole.size)) else whole.copyOf()
                repeat(1 + random.nextInt(8)) {
                    if (content.isNotEmpty()) content[random.nextInt(content.size)] = random.nextInt().toByte()
                }
                try {
                    check(content, branch)
                } catch (_: BadBundle) {
                    refused++
                }
            }
        }
        assertTrue(refused >= 100 * bundle.manifest.branches.size, "$refused refused") // all that were cut
    }

    @Test
    fun `a vector that is named again and again is read so often only`() {
        val file = Flatbuffer(ByteBuffer.allocate(64))
        file.spend(4 * 64 + (1 shl 16))
        val error = assertThrows(Damaged::class.java) { file.spend(1) }
        assertEquals("it refers to the same parts too often", error.message)
    }
}
