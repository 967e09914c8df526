package io.adascale.files

import io.adascale.BadInput
import io.adascale.Damage
import io.adascale.Text
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.random.Random

class JsonTest {
    private val value = linkedMapOf(
        "text" to "d\u00e9\uD83D\uDE00\n\"\\\u0000", "whole" to 3L, "least" to Long.MIN_VALUE, "real" to -2.5,
        "yes" to true, "none" to null, "empty" to emptyList<Any?>(), "object" to mapOf("a" to listOf(1L, 2.0)),
    )

    @Test
    fun `what is written is read again`() {
        assertEquals(value, Json.parse(Json.dump(value), "w"))
        assertEquals(value, Json.parse(Json.dumpLine(value).toByteArray(), "w"))
        assertEquals("{\"a\":[1,2.0],\"b\":null}\n", Json.dumpLine(linkedMapOf("a" to listOf(1, 2.0), "b" to Double.NaN)))
        assertEquals("{\n \"a\": [\n  1\n ],\n \"b\": {}\n}\n", Json.dump(linkedMapOf("a" to listOf(1), "b" to emptyMap<String, Any>())))
    }

    @Test
    fun `numbers are the shortest that read back`() {
        val random = Random(1)
        repeat(20_000) {
            val number = Double.fromBits(random.nextLong())
            if (!number.isNaN() && !number.isInfinite()) {
                val written = Text.repr(number)
                assertEquals(number, written.toDouble(), 0.0)
                assertTrue(written.count { it.isDigit() } <= number.toString().count { it.isDigit() } + 3, written)
            }
        }
        assertEquals(listOf("1e+16", "1e-05", "0.0001", "100.0", "-0.0", "5e-324"), listOf(1e16, 1e-5, 1e-4, 100.0, -0.0, 5e-324).map { Text.repr(it) })
    }

    @Test
    fun `what readers understand differently is refused`() {
        val wrong = mapOf(
            "{\"a\": 1, \"a\": 2}" to "'a' is given twice", "[NaN]" to "NaN is not a JSON number",
            "[-Infinity]" to "-Infinity is not a JSON number", "[1e999]" to "w[0] is not a finite number (inf)",
            "{\"a\": 9223372036854775808}" to "w.a is a whole number of more than 64 bits",
            "[\"\\ud800\"]" to "w[0] holds an unpaired surrogate (\\ud800)", "[1] 2" to "Extra data",
            "[".repeat(65) + "]".repeat(65) to "nested deeper than 64 levels", "" to "Expecting value",
        )
        for ((text, words) in wrong) {
            val sentence = assertThrows(BadInput::class.java) { Json.parse(text, "w") }.sentence
            assertTrue(words in sentence, "$text: $sentence")
        }
        val bytes = byteArrayOf('"'.code.toByte(), 0xC3.toByte(), '"'.code.toByte())
        val sentence = assertThrows(BadInput::class.java) { Json.parse(bytes, "w") }.sentence
        assertEquals("w is not UTF-8 text (at byte 1); save it as UTF-8.", sentence)
    }

    @Test
    fun `as many levels as are allowed are read`() {
        Json.parse("[".repeat(64) + "]".repeat(64), "w")
        assertThrows(BadInput::class.java) { Json.parse("{\"a\":".repeat(1_000_000), "w") }
    }

    @Test
    fun `damaged JSON is read or refused`() {
        Damage.survives(Json.dump(value).toByteArray(), 3000) { Json.dumpLine(Json.parse(it, "w")) }
    }
}
