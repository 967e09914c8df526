// Where the bytes of a branch's .tflite file come from: a file on disk, or something else that an app has.
package io.adascale.engines

import io.adascale.AdaScaleError
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** A .tflite file. */
public interface Model {
    /** What sentences call it, such as its path. */
    public val name: String

    /** The plain file that holds nothing but it; null where it lies in something else, such as an app's assets. */
    public val file: File?

    /**
     * All of its bytes: a direct, read-only buffer in the machine's order, mapped where that can be. From any thread.
     *
     * @throws AdaScaleError It cannot be read.
     */
    public fun bytes(): ByteBuffer
}

/** A .tflite file on disk. */
public class FileModel(override val file: File) : Model {
    override val name: String get() = file.path

    override fun bytes(): ByteBuffer = try {
        FileInputStream(file).use { stream ->
            val channel = stream.channel
            channel.map(FileChannel.MapMode.READ_ONLY, 0L, channel.size()).order(ByteOrder.nativeOrder())
        }
    } catch (error: IOException) {
        throw AdaScaleError("$file cannot be read (${error.message}); copy the bundle again.")
    }
}
