package io.adascale.seams

import io.adascale.BadInput
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class BudgetTest {
    @Test
    fun `a budget is read from text and from limits`() {
        val budget = Budget(latencyMs = 5.0, minAccuracy = 0.9)
        assertEquals(budget, Budget.parse(" latency_ms=5, min_accuracy = .9"))
        assertEquals(budget, Budget.of(budget.limits()))
        assertEquals(budget, Budget.of(mapOf("latency_ms" to 5L, "min_accuracy" to 0.9, "energy_mj" to null)))
        assertEquals(listOf("latency_ms", "min_accuracy"), budget.limits().keys.toList())
        assertEquals(7, Budget(1.0, 2.0, 3.0, 1.0, 5.0, 6.0, 7.0).limits().size)
    }

    @Test
    fun `what is no budget is refused`() {
        for (text in listOf("latency_ms=5f", "latency_ms=0", "latency_ms", "x=1", "latency_ms=1,latency_ms=2", "", "min_accuracy=90")) {
            assertThrows(BadInput::class.java, { Budget.parse(text) }, text)
        }
        for (limits in listOf(mapOf("x" to 1.0), mapOf("latency_ms" to "5"), mapOf("latency_ms" to -1), mapOf("latency_ms" to true))) {
            assertThrows(BadInput::class.java, { Budget.of(limits) }, limits.toString())
        }
        val sentence = assertThrows(BadInput::class.java) { Budget.parse("min_accuracy=90") }.sentence
        assertTrue(sentence.endsWith("not 90; write 0.9."), sentence)
    }

    @Test
    fun `recipes read their own text`() {
        for (text in listOf("full", "width(0.5)+exit(2)@block_1+int8")) {
            assertEquals(text, Recipe.parse(text).toString())
        }
        assertEquals("width0.5-exit2-at-block_1-int8", Recipe.parse("width(0.50) + exit(2)@block_1 + int8").id)
        assertEquals(2, Recipe.parseList("full, width(.5),").size)
        for (text in listOf("", "full,full", "width(0.5),width(.5)")) {
            assertThrows(BadInput::class.java, { Recipe.parseList(text) }, text)
        }
    }
}
