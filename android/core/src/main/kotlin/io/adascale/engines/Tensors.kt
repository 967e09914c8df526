// Numbers at the borders of branches: between real ones and the bytes of a tensor's own type.
package io.adascale.engines

import io.adascale.AdaScaleError
import io.adascale.seams.TensorSpec
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import java.nio.ShortBuffer

/**
 * Converts between real numbers and a tensor's bytes, without garbage: `real = (stored - zero point) * scale`.
 *
 * Rounds as the Python runtime does, in single precision and half to even, so both give a branch the same bytes.
 *
 * @param spec the tensor.
 * @throws AdaScaleError Its type is none that branches have at their borders.
 */
public class Tensors(private val spec: TensorSpec) {
    private val kind = KINDS.indexOf(spec.dtype)

    /** How many numbers it has. */
    public val size: Int

    /** How many bytes it has. */
    public val bytes: Int

    /** Whether every value is finite, whatever its bytes are. */
    public val finite: Boolean = spec.scale != null

    private val scale = (spec.scale ?: 1.0).toFloat()
    private val zero = (spec.zeroPoint ?: 0L).toInt()
    private val quantized = spec.scale != null && spec.zeroPoint != null
    private val low: Int
    private val high: Int

    init {
        if (kind < 0) throw AdaScaleError("Tensors of ${spec.dtype} are not read here; build the bundle again.")
        val count = spec.shape.fold(1L) { product, dimension -> product * dimension }
        if (count < 1 || count * WIDTHS[kind] > Int.MAX_VALUE) {
            throw AdaScaleError("The tensor '${spec.name}' has $count numbers; build the bundle again.")
        }
        size = count.toInt()
        bytes = size * WIDTHS[kind]
        low = LOWS[kind]
        high = HIGHS[kind]
    }

    /**
     * Writes real numbers as this tensor's bytes.
     *
     * @param real the numbers, from its position on, which is the same afterwards.
     * @param stored takes them; at least as many bytes as the tensor has, in the machine's order.
     */
    public fun write(real: FloatBuffer, stored: Stored) {
        val at = real.position()
        when {
            kind == FLOAT -> {
                val limit = real.limit()
                real.limit(at + size)
                stored.floats.position(0)
                stored.floats.put(real)
                real.limit(limit)
                real.position(at)
            }
            kind == SHORT -> for (index in 0 until size) {
                stored.shorts.put(index, integer(real.get(at + index)).toShort())
            }
            else -> for (index in 0 until size) stored.bytes.put(index, integer(real.get(at + index)).toByte())
        }
    }

    /** Reads this tensor's bytes as real numbers, into the beginning of [real]. */
    public fun read(stored: Stored, real: FloatArray) {
        when (kind) {
            FLOAT -> {
                stored.floats.position(0)
                stored.floats.get(real, 0, size)
            }
            SHORT -> for (index in 0 until size) real[index] = number(stored.shorts.get(index).toInt())
            BYTE -> for (index in 0 until size) real[index] = number(stored.bytes.get(index).toInt())
            else -> for (index in 0 until size) real[index] = number(stored.bytes.get(index).toInt() and 0xff)
        }
    }

    private fun integer(real: Float): Int {
        if (!quantized) return real.toInt()
        // Clipped after rounding; the steps of what is not finite are clipped, too.
        val steps = Math.rint((real / scale).toDouble()) + zero
        return Math.max(low.toDouble(), Math.min(high.toDouble(), steps)).toInt()
    }

    private fun number(stored: Int): Float = if (quantized) (stored - zero).toFloat() * scale else stored.toFloat()

    /** The memory of a tensor, with the views of it that reading and writing need. */
    public class Stored(
        /** All of its bytes, in the machine's order. */
        public val bytes: ByteBuffer,
    ) {
        internal val floats: FloatBuffer = bytes.asFloatBuffer()
        internal val shorts: ShortBuffer = bytes.asShortBuffer()
    }

    private companion object {
        const val FLOAT = 0
        const val BYTE = 1
        const val SHORT = 3
        val KINDS = listOf("float32", "int8", "uint8", "int16")
        val WIDTHS = intArrayOf(4, 1, 1, 2)
        val LOWS = intArrayOf(0, -128, 0, -32768)
        val HIGHS = intArrayOf(0, 127, 255, 32767)
    }
}
