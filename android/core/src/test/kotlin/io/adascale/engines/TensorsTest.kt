package io.adascale.engines

import io.adascale.AdaScaleError
import io.adascale.seams.TensorSpec
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

class TensorsTest {
    private fun stored(tensors: Tensors) =
        Tensors.Stored(ByteBuffer.allocateDirect(tensors.bytes).order(ByteOrder.nativeOrder()))

    private fun through(spec: TensorSpec, vararg real: Float): FloatArray {
        val tensors = Tensors(spec)
        val place = stored(tensors)
        val input = FloatBuffer.wrap(floatArrayOf(-99f) + real)
        input.position(1)
        tensors.write(input, place)
        assertEquals(1, input.position())
        assertEquals(real.size + 1, input.limit())
        return FloatArray(real.size).also { tensors.read(place, it) }
    }

    @Test
    fun `real numbers stay as they are`() {
        val spec = TensorSpec("x", listOf(1, 4), "float32")
        val values = floatArrayOf(0.1f, -3e30f, Float.NaN, Float.POSITIVE_INFINITY)
        assertArrayEquals(values, through(spec, *values))
        assertFalse(Tensors(spec).finite)
    }

    @Test
    fun `integers are rounded half to even and clipped`() {
        val spec = TensorSpec("x", listOf(1, 7), "int8", 0.5, -1)
        // Steps of 0.5: 0.25 is half a step, 0.75 one and a half.
        val real = floatArrayOf(0.25f, 0.75f, -0.25f, 1000f, -1000f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY)
        assertArrayEquals(floatArrayOf(0f, 1f, 0f, 64f, -63.5f, 64f, -63.5f), through(spec, *real))
        assertTrue(Tensors(spec).finite)
        assertArrayEquals(floatArrayOf(0f, 255f), through(TensorSpec("x", listOf(1, 2), "uint8", 1.0, 0), -5f, 300f))
        val wide = TensorSpec("x", listOf(1, 2), "int16", 0.25, 0)
        assertArrayEquals(floatArrayOf(8191.75f, -8192f), through(wide, 1e9f, -1e9f))
    }

    @Test
    fun `what branches do not have at their borders is refused`() {
        assertThrows(AdaScaleError::class.java) { Tensors(TensorSpec("x", listOf(1), "int64")) }
        assertThrows(AdaScaleError::class.java) { Tensors(TensorSpec("x", listOf(1, 1 shl 30, 8), "float32")) }
        assertThrows(AdaScaleError::class.java) { Tensors(TensorSpec("x", listOf(1, 0), "float32")) }
    }
}
