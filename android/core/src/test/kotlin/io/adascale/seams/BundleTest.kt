package io.adascale.seams

import io.adascale.BadBundle
import io.adascale.BadInput
import io.adascale.Damage
import io.adascale.files.Disk
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

class BundleTest {
    @TempDir
    lateinit var folder: File

    private fun written(change: (Manifest) -> Manifest = { it }): File {
        File(folder, "full.tflite").writeBytes(ByteArray(100) { it.toByte() })
        File(folder, "samples.bin").writeBytes(ByteArray(2 * 24 * 4))
        File(folder, "expected.bin").writeBytes(ByteArray(2 * 2 * 4))
        val entries = listOf("full.tflite", "samples.bin", "expected.bin").map {
            FileEntry(it, Disk.sha256(File(folder, it)), File(folder, it).length())
        }
        Disk.writeText(File(folder, Bundle.MANIFEST), Bundle.manifestText(change(manifest(entries))))
        return folder
    }

    private fun manifest(files: List<FileEntry>): Manifest {
        val output = TensorSpec("y", listOf(1, 2), "int8", 0.5, -3)
        val branch = Branch(
            "full", "full", 1, "int8", "full.tflite", "serving_default", 100, TensorSpec("x", listOf(1, 24), "float32"),
            output, Cost(1000, 10, 40, 80, 60, 3, mapOf("dense-integer" to mapOf("count" to 1.0)), "integer"),
            Accuracy("top-1", 0.75, 64, "test"), Verification(2, 1.0, 0.01, 3.5), "expected.bin",
            mapOf("keras_accuracy" to 0.875), listOf(Support("npu", 3, 2, 1, listOf(Refusal("GELU", "float32")))), "2.1.0",
        )
        return Manifest(
            Bundle.FORMAT, "tiny", "classification", "plain", listOf("a", "b"), mapOf("kind" to "array"), listOf(branch),
            files, Samples("samples.bin", 2, listOf(0, 1)), "2026-01-01T00:00:00Z", mapOf("adascale" to "1"),
            Accuracy("top-1", 0.9, 64, "test"), 2.5, mapOf("exit(1)" to "it is worse"), listOf("cpu"),
        )
    }

    private fun refusal(change: (Manifest) -> Manifest): String =
        assertThrows(BadBundle::class.java) { Bundle.load(written(change)) }.sentence

    private fun branch(change: (Branch) -> Branch): (Manifest) -> Manifest =
        { it.copy(branches = listOf(change(it.branches[0]))) }

    @Test
    fun `a bundle is read as it was written`() {
        val bundle = Bundle.load(written())
        assertEquals(manifest(bundle.manifest.files), bundle.manifest)
        assertEquals(12, bundle.digest.length)
        assertEquals(100, bundle.path(bundle.manifest.branch("full").file).length())
        assertEquals(12.5, bundle.manifest.branches[0].loss)
        assertEquals(3, Losses.remarks(bundle.manifest).size)
        assertEquals("2 of 3 in 1 part: GELU with float32 (1)", bundle.manifest.branches[0].support[0].words)
        assertTrue("it has full" in assertThrows(BadInput::class.java) { bundle.manifest.branch("x") }.sentence)
    }

    @Test
    fun `files that are not those of the manifest are refused`() {
        val root = written()
        val file = File(root, "full.tflite")
        val whole = file.readBytes()
        file.writeBytes(whole.copyOf(99))
        assertTrue("99 bytes instead of 100" in assertThrows(BadBundle::class.java) { Bundle.load(root) }.sentence)
        file.writeBytes(whole.copyOf().also { it[50] = 0 })
        assertTrue("wrong checksum" in assertThrows(BadBundle::class.java) { Bundle.load(root) }.sentence)
        file.delete()
        assertTrue("is missing" in assertThrows(BadBundle::class.java) { Bundle.load(root) }.sentence)
        File(root, Bundle.MANIFEST).delete()
        assertTrue("has no manifest.json" in assertThrows(BadBundle::class.java) { Bundle.load(root) }.sentence)
        assertThrows(BadBundle::class.java) { Bundle.load(File(root, "none")) }
    }

    @Test
    fun `manifests that lie are refused`() {
        assertTrue("lies outside" in refusal { it.copy(files = it.files + FileEntry("a/../../b", "", 1)) })
        assertTrue("lies outside" in refusal { it.copy(files = it.files + FileEntry("/etc/passwd", "", 1)) })
        assertTrue("twice" in refusal { it.copy(files = it.files + it.files[0]) })
        assertTrue("no checksum" in refusal(branch { it.copy(file = "other.tflite") }))
        assertTrue("twice" in refusal { it.copy(branches = it.branches + it.branches) })
        assertTrue("lists no branch" in refusal { it.copy(branches = emptyList()) })
        assertTrue("has format" in refusal { it.copy(format = "adascale-bundle/2") })
        assertTrue("precision 'float8'" in refusal(branch { it.copy(precision = "float8", cost = it.cost.copy(arithmetic = "")) }))
        val huge = List(8) { if (it == 0) 1 else Int.MAX_VALUE }
        assertTrue("of the shape" in refusal(branch { it.copy(input = it.input.copy(shape = huge)) }))
        assertTrue("zero point 200" in refusal(branch { it.copy(output = it.output.copy(zeroPoint = 200)) }))
        assertTrue("negative cost" in refusal(branch { it.copy(cost = it.cost.copy(macs = -1)) }))
        assertTrue("labels" in refusal { it.copy(samples = it.samples.copy(count = Int.MAX_VALUE)) })
        assertTrue("do not name" in refusal { it.copy(labels = listOf("a")) })
    }

    @Test
    fun `damaged manifests are read or refused`() {
        val content = File(written(), Bundle.MANIFEST).readBytes()
        Damage.survives(content, 1500) {
            val read = Bundle.parseManifest(it, "w")
            assertEquals(read, Bundle.parseManifest(Bundle.manifestText(read).toByteArray(), "w"))
        }
    }
}
