package io.adascale.engines

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class RulesTest {
    private val sizes = mapOf("a" to 10.0, "b" to 5.0, "c" to 20.0)

    @Test
    fun `what leaves the reserve fits`() {
        assertTrue(Rules.fits(36.0, 100.0, 64.0))
        assertFalse(Rules.fits(37.0, 100.0, 64.0))
        assertTrue(Rules.fits(0.0, 10.0, 64.0))
        assertTrue(Rules.fits(1e6, Double.NaN, 64.0))
    }

    @Test
    fun `the least recently used go first, until enough is free`() {
        val held = listOf("a", "b", "c")
        assertEquals(listOf("a"), Rules.givingWay(held, sizes, 9.0, setOf()))
        assertEquals(listOf("a", "b"), Rules.givingWay(held, sizes, 11.0, setOf()))
        assertEquals(listOf("a", "b"), Rules.givingWay(held, sizes, 1000.0, setOf()))
        assertEquals(listOf("b"), Rules.givingWay(held, sizes, 1000.0, setOf("a", "c")))
        assertEquals(emptyList<String>(), Rules.givingWay(held, sizes, 0.0, setOf()))
        assertEquals(emptyList<String>(), Rules.givingWay(listOf("a"), sizes, 10.0, setOf()))
    }

    @Test
    fun `what serves is left only where that helps`() {
        assertTrue(Rules.inNeed(10.0, 30.0, 64.0))
        assertFalse(Rules.inNeed(10.0, 40.0, 64.0))
        assertFalse(Rules.inNeed(1.0, 30.0, 64.0))
        assertFalse(Rules.inNeed(10.0, Double.NaN, 64.0))
    }
}
