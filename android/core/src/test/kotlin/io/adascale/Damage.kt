package io.adascale

import org.junit.jupiter.api.Assertions.assertTrue
import kotlin.random.Random

/** Damage to files, drawn from a seed. */
object Damage {
    private val PIECES = listOf(
        "", "}", "]", ",", ":", "\"", "\\", "\\u12", "\\ud834", "\u0000", "NaN", "-", "0", "1e999", "-1", "9".repeat(30),
        "\n", "[".repeat(80), "null", "true", "{}", "[]", "\uFEFF", "\u202e",
    ).map { it.toByteArray() }

    /** The content, cut off, or with some bytes that are flipped, replaced or put in. */
    fun of(content: ByteArray, random: Random): ByteArray {
        val at = random.nextInt(content.size)
        val rest = content.drop(minOf(content.size, at + random.nextInt(3)))
        return when (random.nextInt(10)) {
            0 -> content.copyOf(at)
            in 1..4 -> content.copyOf().also { it[at] = (it[at].toInt() xor (1 shl random.nextInt(8))).toByte() }
            else -> content.copyOf(at) + PIECES.random(random) + rest
        }
    }

    /** Reads damaged copies of a content: each is read, or refused with one sentence, and both happen. */
    fun survives(content: ByteArray, cases: Int = 600, seed: Int = 1, read: (ByteArray) -> Unit) {
        val random = Random(seed)
        var refused = 0
        repeat(cases) {
            try {
                read(of(content, random))
            } catch (error: BadInput) {
                assertTrue(error.sentence.last() in ".?" && error.sentence.length < 1500, error.sentence)
                refused++
            }
        }
        assertTrue(refused in cases / 10 until cases, "$refused of $cases were refused")
    }
}
