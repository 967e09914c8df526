// Checks of .tflite files from outside: sound structure, and agreement with the manifest.
package io.adascale.files

import io.adascale.BadBundle
import io.adascale.Text
import io.adascale.seams.Branch
import io.adascale.seams.TensorSpec
import java.nio.ByteBuffer

/**
 * Looks at .tflite files before LiteRT does, in some milliseconds: LiteRT trusts them, and an offset that leads elsewhere
 * or an operator that reads its own output ends the process. What each operator demands of its tensors is not known here.
 */
public object Tflite {
    private const val MOST_BUFFERS = 500_000
    private const val MOST = 1000
    private const val MOST_GRAPHS = 2000

    /** By how much a file may exceed the operators of its manifest, which does not count those that unpack constants. */
    private const val SLACK = 2L
    private const val SLACK_OPERATORS = 500L
    private val DTYPES = mapOf(0 to "float32", 2 to "int32", 3 to "uint8", 7 to "int16", 9 to "int8")

    /**
     * Checks that a file holds together, and that it is what the manifest says of a branch.
     *
     * @param content all bytes of the file.
     * @param name what sentences call it.
     * @throws BadBundle it is not; the sentence says why.
     */
    @JvmStatic
    public fun check(content: ByteBuffer, name: String, branch: Branch) {
        val why = try {
            val signatures = read(content)
            val found = signatures[branch.signature]
            if (found == null) "it has no signature '${Text.excerpt(branch.signature)}'" else disagreement(found, branch)
        } catch (error: Damaged) {
            throw BadBundle(
                "${Text.excerpt(name, 400)} is not a usable .tflite file: ${error.message}; copy or build the bundle again.",
            )
        }
        if (why != null) {
            throw BadBundle(
                "Branch '${Text.excerpt(branch.id)}' is not what its file ${Text.excerpt(name, 400)} holds: $why; copy or " +
                    "build the bundle again.",
            )
        }
    }

    private class Border(val name: String, val tensor: FileTensor)

    private class Signature(val inputs: List<Border>, val outputs: List<Border>, val operators: Long)

    private fun read(content: ByteBuffer): Map<String, Signature> {
        val file = Flatbuffer(content)
        if (file.size < 8 || "TFL3".indices.any { file.byte(4L + it) != "TFL3"[it].code }) {
            throw Damaged("its identifier 'TFL3' is missing")
        }
        val model = file.root()
        model.text(3)
        model.vector(5, 4)
        if (model.vector(8, 4).count != 0 || model.vector(9, 4).count != 0) {
            throw Damaged("it stores values in other files, which is not supported")
        }
        val codes = model.tables(1, MOST, "kinds of operators").map { FileCode(Math.max(it.byte(0), it.int(3)), it.text(1)) }
        val tables = model.tables(4, MOST_BUFFERS, "buffers")
        val buffers = LongArray(tables.size) { buffer(tables[it]) }
        for (entry in model.tables(6, MOST, "notes")) {
            entry.text(0)
            if (entry.unsigned(1) >= buffers.size) throw Damaged("it has metadata in a buffer that does not exist")
        }
        val parts = model.tables(2, MOST_GRAPHS, "subgraphs")
        if (parts.isEmpty()) throw Damaged("it has no operators")
        val reader = TfliteGraphs(codes, buffers, parts.size)
        val graphs = parts.mapIndexed { number, table -> reader.read(table, "subgraph $number") }
        val operators = operators(graphs)
        val found = LinkedHashMap<String, Signature>()
        for (table in model.tables(7, MOST, "signatures")) {
            val key = table.text(2)
            if (found.put(key, signature(table, graphs, operators, key)) != null) {
                throw Damaged("it has two signatures '${Text.excerpt(key)}'")
            }
        }
        return found
    }

    /** The bytes that a buffer holds: in the flatbuffer, or behind it in the same file. */
    private fun buffer(table: FlatTable): Long {
        val inside = table.vector(0, 1)
        val offset = table.long(1)
        val size = table.long(2)
        if ((offset < 0 || offset > 1) && size != 0L) {
            if (inside.count != 0 || offset < 0 || size < 0 || offset > table.file.size - size) {
                throw Damaged("one of its buffers is outside of the file")
            }
            return size
        }
        if (inside.start % 4 != 0L) throw Damaged("one of its buffers is not aligned")
        return inside.count.toLong()
    }

    /** How many operators a run of each subgraph executes; refuses those that call each other in a circle. */
    private fun operators(graphs: List<FileGraph>): LongArray {
        if (graphs.sumOf { it.operators.toLong() } > TfliteGraphs.MOST_OPERATORS) {
            throw Damaged("it has more than ${TfliteGraphs.MOST_OPERATORS} operators")
        }
        val counts = LongArray(graphs.size) { -1L }
        val begun = BooleanArray(graphs.size)
        val stack = ArrayList<Int>(graphs.indices.toList())
        while (stack.isNotEmpty()) {
            val index = stack[stack.size - 1]
            val missing = graphs[index].calls.filter { counts[it] < 0 }
            if (counts[index] < 0 && missing.isNotEmpty()) {
                if (begun[index] || index in missing) throw Damaged("subgraph $index calls itself")
                begun[index] = true
                stack.addAll(missing)
                continue
            }
            stack.removeAt(stack.size - 1)
            counts[index] = graphs[index].operators + graphs[index].calls.sumOf { counts[it] }
            if (counts[index] > TfliteGraphs.MOST_OPERATORS) {
                throw Damaged("subgraph $index runs more than ${TfliteGraphs.MOST_OPERATORS} operators")
            }
        }
        return counts
    }

    private fun signature(table: FlatTable, graphs: List<FileGraph>, operators: LongArray, key: String): Signature {
        val index = table.unsigned(4)
        if (index >= graphs.size) {
            throw Damaged("the signature '${Text.excerpt(key)}' runs a part of the file that does not exist")
        }
        val graph = graphs[index.toInt()]
        return Signature(
            borders(table, 0, graph, graph.inputs, key), borders(table, 1, graph, graph.outputs, key),
            operators[index.toInt()],
        )
    }

    private fun borders(table: FlatTable, field: Int, graph: FileGraph, allowed: IntArray, key: String): List<Border> =
        table.tables(field, allowed.size, "inputs or outputs of a signature").map { entry ->
            val index = entry.unsigned(1)
            if (allowed.none { it.toLong() == index }) {
                throw Damaged("the signature '${Text.excerpt(key)}' names a tensor that is not an input or output")
            }
            Border(entry.text(0), graph.tensors[index.toInt()])
        }

    /** Why a signature is not that of a branch; null if it is. */
    private fun disagreement(found: Signature, branch: Branch): String? {
        if (found.operators > SLACK * branch.cost.ops + SLACK_OPERATORS) {
            return "it runs ${found.operators} operators, and the manifest says ${branch.cost.ops}"
        }
        return border("input", found.inputs, branch.input) ?: border("output", found.outputs, branch.output)
    }

    private fun border(noun: String, ends: List<Border>, wanted: TensorSpec): String? {
        if (ends.size != 1) return "it has ${ends.size} ${noun}s instead of one"
        val tensor = ends[0].tensor
        val dtype = DTYPES[tensor.kind] ?: "type ${tensor.kind}"
        val scale = if (dtype == "float32") null else tensor.scale?.toDouble()
        val zero = if (scale == null) null else tensor.zeroPoint
        val wrong = when {
            ends[0].name != wanted.name -> "name" to Pair(ends[0].name, wanted.name)
            tensor.shape != wanted.shape -> "shape" to Pair(tensor.shape, wanted.shape)
            dtype != wanted.dtype -> "dtype" to Pair(dtype, wanted.dtype)
            zero != wanted.zeroPoint?.toLong() -> "zero point" to Pair(zero, wanted.zeroPoint)
            !close(scale, wanted.scale) -> "scale" to Pair(scale, wanted.scale)
            else -> return null
        }
        val (now, then) = wrong.second
        return "its $noun has the ${wrong.first} ${Text.excerpt(now)} there, and ${Text.excerpt(then)} in the manifest"
    }

    private fun close(actual: Double?, wanted: Double?): Boolean {
        if (actual == null || wanted == null) return actual == wanted
        return Math.abs(actual - wanted) <= 1e-6 * Math.abs(actual)
    }
}
