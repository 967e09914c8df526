// Cases that Python wrote (`python -m tests.vectors.seams OUT`), and how results are compared with them.
package io.adascale

import io.adascale.files.Json
import org.junit.jupiter.api.Assertions.fail
import org.junit.jupiter.api.Assumptions.assumeTrue
import java.io.File
import java.util.Base64
import kotlin.math.abs
import kotlin.math.max

object Vectors {
    /** The file that cases call so in sentences. */
    const val WHERE = "FILE"
    private const val RELATIVE = 1e-9
    private const val SHOWN = 8

    /** The folder of cases; without it the test that asks is skipped. */
    fun folder(): File {
        val place = System.getProperty("adascale.vectors").orEmpty()
        val told = "skipped: no cases from Python; 'make android' writes them and sets -Dadascale.vectors=FOLDER"
        if (place.isEmpty()) println(told)
        assumeTrue(place.isNotEmpty(), told)
        return File(place, "seams")
    }

    /** The cases of one of the folder's files. */
    fun cases(name: String): List<Map<*, *>> {
        val file = File(folder(), "$name.json")
        return (Json.parse(file.readBytes(), file.path) as List<*>).map { it as Map<*, *> }
    }

    /** The content of a case's file. */
    fun content(case: Map<*, *>): ByteArray = Base64.getDecoder().decode(case["content"] as String)

    /** What [compute] makes of each case is its `result`; or it is refused with the case's `error`. */
    fun agree(cases: List<Map<*, *>>, compute: (Map<*, *>) -> Any?) {
        var accepted = 0
        val wrong = cases.mapNotNull { case ->
            if ("error" !in case) accepted++
            difference(case, compute)?.let { "$it\n  case: ${shown(case)}" }
        }
        if (wrong.isNotEmpty()) {
            fail<Unit>("${wrong.size} of ${cases.size} cases differ:\n" + wrong.take(SHOWN).joinToString("\n"))
        }
        if (cases.size > SHOWN && accepted == 0) fail<Unit>("Python refused all ${cases.size} cases")
    }

    private fun difference(case: Map<*, *>, compute: (Map<*, *>) -> Any?): String? {
        val error = case["error"] as String?
        val found = try {
            compute(case)
        } catch (refused: BadInput) {
            // Whole numbers of more than 32 bits, where no device has so many, are refused here alone.
            if ("more than 32 bits" in refused.sentence) return null
            // Who stops at the deepest level does not see what is wrong after it.
            if (error != null && "nested deeper" in refused.sentence) return null
            if (error == null) return "refused with: ${refused.sentence}"
            val same = problem(error) == problem(refused.sentence)
            return if (same) null else "refused with: ${refused.sentence}\n  but Python: $error"
        }
        if (error != null) return "accepted, but Python: $error"
        return if (near(case["result"], found)) null else "gave $found\n  but Python: ${case["result"]}"
    }

    /** A sentence without what to do, which is another on a phone. */
    private fun problem(sentence: String): String = sentence.substringBeforeLast("; ").removeSuffix(".")

    /** Whether two values of plain JSON are equal, numbers up to rounding. */
    fun near(a: Any?, b: Any?): Boolean = when {
        a is Number && b is Number -> {
            val x = a.toDouble()
            val y = b.toDouble()
            x == y || abs(x - y) <= RELATIVE * max(abs(x), abs(y))
        }
        a is List<*> && b is List<*> -> a.size == b.size && a.indices.all { near(a[it], b[it]) }
        a is Map<*, *> && b is Map<*, *> -> a.keys == b.keys && a.keys.all { near(a[it], b[it]) }
        else -> a == b
    }

    private fun shown(case: Map<*, *>): String {
        val told = case.filterKeys { it != "content" && it != "result" }.toString().take(300)
        return if ("content" in case) told + " " + String(content(case)).take(400) else told
    }
}
