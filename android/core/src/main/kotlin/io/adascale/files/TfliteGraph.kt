// Checks of a .tflite's subgraphs: properties of tensors and operators that LiteRT assumes without checking. Numbers of
// fields, types and operators are those of TFLite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
package io.adascale.files

/** What an operator does: its number among the built-in ones, and its name if it is none of them. */
internal class FileCode(val number: Int, val custom: String)

/**
 * A tensor as the file declares it: [kind] is its TensorType, [size] its bytes (null: not known before a run);
 * [constant]: the file holds its values; [given]: it has values, or none, before any operator ran.
 */
internal class FileTensor(
    val shape: List<Int>, val kind: Int, val size: Long?, val constant: Boolean, val given: Boolean,
    val scale: Float?, val zeroPoint: Long?,
)

/** A subgraph that holds together: [calls] are the subgraphs that its operators run, each as often as they do. */
internal class FileGraph(
    val tensors: List<FileTensor>, val inputs: IntArray, val outputs: IntArray, val operators: Int, val calls: List<Int>,
)

/**
 * Reads subgraphs.
 *
 * @param codes what the file's operators do.
 * @param buffers the bytes that each buffer holds.
 * @param graphs how many subgraphs there are.
 */
internal class TfliteGraphs(
    private val codes: List<FileCode>, private val buffers: LongArray, private val graphs: Int,
) {
    /** The subgraph of a table, which sentences call [name]. */
    fun read(table: FlatTable, name: String): FileGraph {
        table.text(4)
        val tensors = table.tables(0, MOST_TENSORS, "tensors").mapIndexed { i, row -> tensor(row, "tensor $i of $name") }
        val inputs = table.ints(1)
        val outputs = table.ints(2)
        if ((inputs + outputs).any { it !in tensors.indices }) {
            throw Damaged("$name has an input or output that is not one of its tensors")
        }
        val written = BooleanArray(tensors.size) { tensors[it].given }
        val fixed = BooleanArray(tensors.size) { tensors[it].constant }
        var bytes = 0L
        for (index in inputs) {
            written[index] = true
            fixed[index] = true
            bytes += tensors[index].size ?: 0L
        }
        val operators = table.tables(3, MOST_OPERATORS, "operators")
        val calls = ArrayList<Int>()
        for ((number, operator) in operators.withIndex()) {
            val where = "operator $number of $name"
            val code = code(operator, where)
            for (index in targets(operator, code, written, fixed, where)) {
                written[index] = true
                fixed[index] = true
                bytes += tensors[index].size ?: 0L
            }
            calls.addAll(calls(operator, code, where))
        }
        if (bytes > MOST_WRITTEN_BYTES) throw Damaged("$name writes $bytes bytes in one run")
        outputs.firstOrNull { !written[it] }?.let { throw Damaged("$name has an output, tensor $it, that nothing writes") }
        return FileGraph(tensors, inputs, outputs, operators.size, calls)
    }

    private fun tensor(table: FlatTable, where: String): FileTensor {
        val shape = table.ints(0).toList()
        val kind = table.byte(1)
        val buffer = table.unsigned(2)
        table.text(3)
        if (kind !in BITS && kind !in WITHOUT_SIZE) throw Damaged("$where has the unknown type $kind")
        if (shape.size > MOST_DIMENSIONS || shape.any { it < 0 }) {
            throw Damaged("$where has the impossible shape ${shape.take(10)}")
        }
        if (table.ints(7).size.let { it != 0 && it != shape.size }) {
            throw Damaged("$where has two shapes of different ranks")
        }
        if (buffer >= buffers.size) throw Damaged("$where has its values in a buffer that does not exist")
        if (table.at(6) != 0L || table.vector(9, 4).count != 0 || table.unsigned(10) != 0L) {
            throw Damaged("$where is sparse, a variant, or in another file, which is not supported")
        }
        val elements = if (0 in shape) 0.0 else shape.fold(1.0) { product, one -> product * one }
        if (elements > MOST_TENSOR_BYTES) throw Damaged("$where has more elements than fit into memory")
        val size = BITS[kind]?.let { (elements.toLong() * it + 7) / 8 }
        if (size != null && size > MOST_TENSOR_BYTES) throw Damaged("$where has more bytes than fit into memory")
        val held = buffers[buffer.toInt()]
        if (held != 0L && held != size) throw Damaged("$where takes $size bytes, but the file holds $held for it")
        val (scale, zero) = quantization(table.table(4), shape.size, where)
        if (scale == 0f && held == 0L) throw Damaged("$where has an invalid scale")
        val given = held != 0L || elements == 0.0 || table.unsignedByte(5) != 0
        return FileTensor(shape, kind, size, held != 0L, given, scale, zero)
    }

    private fun quantization(table: FlatTable?, rank: Int, where: String): Pair<Float?, Long?> {
        if (table == null) return Pair(null, null)
        table.vector(0, 4)
        table.vector(1, 4)
        val scales = table.floats(2)
        val zeros = table.longs(3)
        if (table.unsignedByte(4) != 0 || table.at(5) != 0L) {
            throw Damaged("$where is quantized in a way that is not supported")
        }
        if ((zeros.isNotEmpty() && zeros.size != scales.size) || (scales.size > 1 && table.int(6) !in 0 until rank)) {
            throw Damaged("$where has ${scales.size} scales and ${zeros.size} zero points")
        }
        // Scales of integers lie far within these; LiteRT aborts on one that it cannot turn into a multiplier.
        if (scales.any { it != 0f && !(it > 1e-30f && it < 1e30f) }) throw Damaged("$where has an invalid scale")
        return if (scales.isEmpty()) Pair(null, null) else Pair(scales[0], zeros.firstOrNull() ?: 0L)
    }

    private fun code(operator: FlatTable, where: String): FileCode {
        val index = operator.unsigned(0)
        if (index >= codes.size) throw Damaged("$where is of a kind that the file does not list")
        val code = codes[index.toInt()]
        if (code.number == CUSTOM && code.custom != COMPILED) {
            throw Damaged("$where is a custom operator ('${code.custom.take(40)}'), which is not supported")
        }
        return code
    }

    /** The tensors that an operator writes, after a look at those that it reads; -1, an optional one, is left out. */
    private fun targets(
        operator: FlatTable, code: FileCode, written: BooleanArray, fixed: BooleanArray, where: String,
    ): List<Int> {
        val sources = operator.ints(1)
        val targets = operator.ints(2)
        for (index in sources + targets + operator.ints(8)) {
            if (index !in -1 until written.size) throw Damaged("$where uses tensor $index, which does not exist")
        }
        val needed = Math.min(sources.size, OPTIONAL[code.number] ?: sources.size)
        if ((0 until needed).any { sources[it] == -1 }) throw Damaged("$where lacks an input that it needs")
        if (operator.vector(7, 1).count.let { it != 0 && it != sources.size }) {
            throw Damaged("$where marks inputs as variables that it does not have")
        }
        sources.firstOrNull { it >= 0 && !written[it] }
            ?.let { throw Damaged("$where reads tensor $it before anything has written it") }
        val found = targets.filter { it >= 0 }
        if (found.toSet().size != found.size || found.any { fixed[it] }) {
            throw Damaged("$where writes a tensor that already has values")
        }
        return found
    }

    /** The subgraphs that an operator runs, after a look at its options. */
    private fun calls(operator: FlatTable, code: FileCode, where: String): List<Int> {
        operator.vector(5, 1)
        val called = ArrayList<Int>()
        for (row in OPTIONS) {
            val kind = operator.unsignedByte(row.kind)
            val table = operator.table(row.table)
            if (table != null) row.vectors[kind]?.forEach { (field, size) -> table.vector(field, size) }
            val wanted = row.calls[code.number] ?: continue
            if (kind != wanted.first || table == null) {
                throw Damaged("$where does not say which part of the file it runs")
            }
            wanted.second.forEach { called.add(table.int(it)) }
        }
        val start = operator.long(9)
        val size = operator.long(10)
        if (start < 0 || size < 0 || start > operator.file.size || size > operator.file.size - start) {
            throw Damaged("$where has options outside of the file")
        }
        if (code.number == CASE) operator.table(12)?.let { called.addAll(it.ints(0).toList()) }
        if (called.any { it !in 0 until graphs }) throw Damaged("$where runs a part of the file that does not exist")
        return called
    }

    /** One of the two places of options: the fields of their type and table, which of them call, and their vectors. */
    private class Place(
        val kind: Int, val table: Int, val calls: Map<Int, Pair<Int, List<Int>>>, val vectors: Map<Int, Map<Int, Int>>,
    )

    companion object {
        /** Operators of all subgraphs together; an unrolled network of 128 steps has some thousands. */
        const val MOST_OPERATORS = 100_000
        private const val MOST_TENSORS = 500_000
        private const val MOST_DIMENSIONS = 8
        private const val MOST_TENSOR_BYTES = 1L shl 31
        private const val MOST_WRITTEN_BYTES = 1L shl 32
        private const val CUSTOM = 32
        private const val CASE = 209

        /** What LiteRT's compilers for NPUs leave in a file: one operator for the part that they compiled. */
        private const val COMPILED = "DISPATCH_OP"

        /** Bits of an element by TensorType. */
        private val BITS = mapOf(
            0 to 32, 1 to 16, 2 to 32, 3 to 8, 4 to 64, 6 to 8, 7 to 16, 8 to 64, 9 to 8, 10 to 64, 11 to 128, 12 to 64,
            15 to 32, 16 to 16, 17 to 4, 18 to 16, 19 to 2, 20 to 4, 21 to 8, 22 to 8,
        )

        /** Strings and handles have no size of their own. */
        private val WITHOUT_SIZE = setOf(5, 13, 14)

        /** Operators some of whose inputs may be left out, from which on: biases, gates of recurrent cells. */
        private val OPTIONAL = mapOf(
            3 to 2, 4 to 2, 9 to 2, 16 to 1, 27 to 4, 33 to 2, 35 to 1, 44 to 1, 46 to 1, 52 to 1, 67 to 3, 132 to 2,
            133 to 3, CUSTOM to 0,
        )
        private val OPTIONS = listOf(
            Place(
                3, 4,
                mapOf(
                    31 to Pair(16, listOf(0)), 118 to Pair(92, listOf(0, 1)), 119 to Pair(93, listOf(0, 1)),
                    129 to Pair(103, listOf(0)),
                ),
                mapOf(
                    3 to mapOf(1 to 4, 2 to 4), 8 to mapOf(5 to 1), 17 to mapOf(0 to 4), 30 to mapOf(0 to 4),
                    111 to mapOf(0 to 1, 1 to 1), 115 to mapOf(0 to 4),
                ),
            ),
            Place(
                11, 12,
                mapOf(
                    174 to Pair(6, listOf(1)), 190 to Pair(7, listOf(6)), 198 to Pair(13, listOf(5)),
                    199 to Pair(14, listOf(2)), 200 to Pair(15, listOf(0, 1)), 206 to Pair(21, listOf(1)),
                ),
                mapOf(
                    2 to mapOf(0 to 8), 3 to mapOf(0 to 8, 1 to 8, 2 to 8),
                    4 to mapOf(0 to 8, 1 to 8, 2 to 8, 3 to 8, 4 to 1, 7 to 8, 10 to 8, 13 to 8, 16 to 4),
                    5 to mapOf(0 to 1, 2 to 1, 4 to 4, 5 to 1), 6 to mapOf(0 to 8), 7 to mapOf(1 to 8, 2 to 8, 3 to 8),
                    9 to mapOf(0 to 8), 10 to mapOf(0 to 8, 1 to 8, 2 to 8),
                    12 to mapOf(0 to 8, 1 to 8, 2 to 8, 3 to 8, 4 to 4),
                    13 to mapOf(0 to 8, 1 to 8, 2 to 8, 3 to 8, 4 to 8), 16 to mapOf(0 to 8, 1 to 8, 2 to 8, 4 to 8),
                    17 to mapOf(0 to 8), 21 to mapOf(0 to 1, 2 to 1), 23 to mapOf(0 to 4),
                ),
            ),
        )
    }
}
