// Reading files that come from outside, and writing whole files or nothing.
package io.adascale.files

import io.adascale.BadInput
import java.io.File
import java.io.FileInputStream
import java.io.FileOutputStream
import java.io.IOException
import java.security.MessageDigest

/** A file or folder that cannot be written: the disk is full, read-only, or somebody else's. */
public class Unwritable(message: String) : BadInput(message)

/** Files from outside. */
public object Disk {
    /** Most bytes of a JSON file: parsed it takes about 16 times as much memory. */
    public const val MOST_BYTES: Long = 16L shl 20

    /**
     * A whole file of at most [most] bytes.
     *
     * @throws BadInput It cannot be read, or is larger.
     */
    @JvmStatic
    @JvmOverloads
    public fun readBytes(file: File, most: Long = MOST_BYTES): ByteArray {
        val size = file.length()
        if (size > most) throw tooLarge(file, size, most)
        return try {
            // No more than the limit, also of what has no length, such as a pipe.
            val found = FileInputStream(file).use { stream ->
                val bytes = java.io.ByteArrayOutputStream(size.toInt())
                val block = ByteArray(1 shl 16)
                while (bytes.size() <= most) {
                    val count = stream.read(block)
                    if (count < 0) break
                    bytes.write(block, 0, count)
                }
                bytes.toByteArray()
            }
            if (found.size > most) throw tooLarge(file, found.size.toLong(), most)
            found
        } catch (error: IOException) {
            throw BadInput("$file cannot be read (${reason(file, error)}).")
        }
    }

    /**
     * The parsed content of a JSON file, see [Json.parse].
     *
     * @throws BadInput It is missing or not JSON.
     */
    @JvmStatic
    public fun readJson(file: File): Any? = Json.parse(readBytes(file), file.toString())

    /**
     * The objects of a JSON-lines file, one after the other, with the number of each line, from 1. A last line without
     * its newline was cut off by a kill and is left out.
     *
     * @param most Most bytes of the file: as it is parsed line by line, more than of JSON in one piece.
     * @throws BadInput The file cannot be read, or a line is not JSON; raised when the sequence comes there.
     */
    @JvmStatic
    @JvmOverloads
    public fun readLines(file: File, most: Long = 16 * MOST_BYTES): Sequence<Any?> = sequence {
        val content = readBytes(file, most)
        var begin = 0
        var number = 0
        for (end in content.indices) {
            if (content[end] != '\n'.code.toByte()) continue
            number++
            val line = content.copyOfRange(begin, end)
            begin = end + 1
            if (line.any { it !in BLANK }) yield(Json.parse(line, "$file line $number"))
        }
    }

    /**
     * Write a whole file or nothing: to a temporary name beside it, then rename.
     *
     * @throws Unwritable The place cannot be written.
     */
    @JvmStatic
    public fun writeText(file: File, content: String) {
        val parent = file.absoluteFile.parentFile
        var temporary: File? = null
        try {
            if (parent != null && !parent.isDirectory && !parent.mkdirs()) throw IOException("$parent cannot be made")
            val partial = File.createTempFile("." + file.name + ".", ".partial", parent)
            temporary = partial
            FileOutputStream(partial).use { stream ->
                stream.write(content.toByteArray(Charsets.UTF_8))
                stream.flush()
                stream.fd.sync() // else a power cut may leave the new name with nothing behind it
            }
            if (!partial.renameTo(file)) throw IOException("it cannot be replaced")
        } catch (error: IOException) {
            temporary?.delete()
            throw Unwritable(
                "$file cannot be written (${error.message}); free some space or choose another place.",
            )
        }
    }

    /**
     * The sha256 of a file as 64 hex digits.
     *
     * @throws BadInput It cannot be read.
     */
    @JvmStatic
    public fun sha256(file: File): String {
        val digest = MessageDigest.getInstance("SHA-256")
        try {
            FileInputStream(file).use { stream ->
                val block = ByteArray(1 shl 16)
                while (true) {
                    val count = stream.read(block)
                    if (count < 0) break
                    digest.update(block, 0, count)
                }
            }
        } catch (error: IOException) {
            throw BadInput("$file cannot be read (${reason(file, error)}).")
        }
        return hex(digest.digest())
    }

    internal fun sha256(text: String): String =
        hex(MessageDigest.getInstance("SHA-256").digest(text.toByteArray(Charsets.UTF_8)))

    private fun hex(bytes: ByteArray): String {
        val digits = StringBuilder(2 * bytes.size)
        for (byte in bytes) {
            digits.append("0123456789abcdef"[(byte.toInt() shr 4) and 15]).append("0123456789abcdef"[byte.toInt() and 15])
        }
        return digits.toString()
    }

    private fun tooLarge(file: File, size: Long, most: Long): BadInput =
        BadInput("$file has ${size / 1_000_000} MB, above the limit of ${most / 1_000_000} MB for its kind.")

    private fun reason(file: File, error: IOException): String = when {
        file.path.indexOf('\u0000') >= 0 -> "embedded null byte"
        file.isDirectory -> "Is a directory"
        !file.exists() -> "No such file or directory"
        else -> error.message ?: error.javaClass.simpleName
    }

    private val BLANK: Set<Byte> = " \t\n\r\u000b\u000c".map { it.code.toByte() }.toSet()
}
