package io.adascale.files

import io.adascale.BadInput
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

class DiskTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `a file is written whole and nothing is left beside it`() {
        val file = File(folder, "new/f.json")
        Disk.writeText(file, "one")
        Disk.writeText(file, "\u00e9")
        assertEquals("\u00e9", String(Disk.readBytes(file)))
        assertEquals(listOf("f.json"), file.parentFile.list()?.toList())
        assertEquals("4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c", Disk.sha256(file))
    }

    @Test
    fun `a place that cannot be written is one sentence`() {
        val file = File(folder, "f").also { it.writeText("") }
        assertThrows(Unwritable::class.java) { Disk.writeText(File(file, "below"), "x") }
        assertThrows(Unwritable::class.java) { Disk.writeText(folder, "x") }
        assertEquals(listOf("f"), folder.list()?.toList())
    }

    @Test
    fun `what cannot be read is one sentence`() {
        for (place in listOf(folder, File(folder, "none"), File(folder, "a\u0000b"))) {
            val sentence = assertThrows(BadInput::class.java) { Disk.readBytes(place) }.sentence
            assertTrue("cannot be read (" in sentence, sentence)
            assertThrows(BadInput::class.java) { Disk.sha256(place) }
        }
        val file = File(folder, "f").also { it.writeText("12345") }
        assertTrue("above the limit" in assertThrows(BadInput::class.java) { Disk.readBytes(file, 4) }.sentence)
    }

    @Test
    fun `a line that was cut off is left out`() {
        val file = File(folder, "f").also { it.writeText("1\n\n \t\r\n{\"a\": 2}\n{\"a\": ") }
        assertEquals(listOf(1L, mapOf("a" to 2L)), Disk.readLines(file).toList())
        file.writeText("1\n{\n")
        val sentence = assertThrows(BadInput::class.java) { Disk.readLines(file).toList() }.sentence
        assertTrue(sentence.startsWith("$file line 2 is not JSON"), sentence)
    }
}
