// A flatbuffer reader for damaged or hostile files: it stays inside the file, and its work is bounded.
// The format: https://flatbuffers.dev/internals.
package io.adascale.files

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The bytes are no flatbuffer of a model, or of one that nothing should run; the message says why. */
internal class Damaged(message: String) : Exception(message)

/** The bytes of a flatbuffer; numbers without a sign are larger types here. */
internal class Flatbuffer(content: ByteBuffer) {
    private val data: ByteBuffer = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    val size: Long = content.capacity().toLong()

    /**
     * How many bytes of vectors may still be read: an honest file holds most vectors once, so a few times its size is
     * enough, while a hostile one names the same vector a million times.
     */
    private var budget = 4 * size + (1 shl 16)
    private val vtables = HashMap<Long, IntArray>()

    fun byte(position: Long): Int = data.get(inside(position, 1)).toInt()

    fun unsignedByte(position: Long): Int = byte(position) and 0xff

    fun unsignedShort(position: Long): Int = data.getShort(inside(position, 2)).toInt() and 0xffff

    fun int(position: Long): Int = data.getInt(inside(position, 4))

    fun unsigned(position: Long): Long = int(position).toLong() and 0xffffffffL

    fun long(position: Long): Long = data.getLong(inside(position, 8))

    fun float(position: Long): Float = data.getFloat(inside(position, 4))

    private fun inside(position: Long, width: Int): Int {
        if (position < 0 || position > size - width) throw Damaged("it refers to data outside of the file")
        return position.toInt()
    }

    /** Where the offset at a position leads to. */
    fun target(position: Long): Long = position + unsigned(position)

    /** The table that the file begins with. */
    fun root(): FlatTable = table(target(0))

    /** The table at a position, with every one of its fields inside of it and it inside of the file. */
    fun table(position: Long): FlatTable {
        if (position % 4 != 0L) throw Damaged("one of its tables is not aligned")
        val start = position - int(position)
        val vtable = vtables.getOrPut(start) { vtable(start) }
        if (position + vtable[0] > size) throw Damaged("one of its tables ends outside of the file")
        return FlatTable(this, position, vtable)
    }

    /** The size of a table, then the offsets of its fields. */
    private fun vtable(start: Long): IntArray {
        val length = unsignedShort(start)
        val bytes = unsignedShort(start + 2)
        if (start % 2 != 0L || length % 2 != 0 || length < 4 || bytes < 4 || start + length > size) {
            throw Damaged("one of its tables has no valid fields")
        }
        val fields = IntArray(length / 2 - 1)
        fields[0] = bytes
        for (index in 1 until fields.size) {
            val offset = unsignedShort(start + 2 + 2 * index)
            if (offset != 0 && offset !in 4 until bytes) {
                throw Damaged("one of its tables has a field outside of the table")
            }
            fields[index] = offset
        }
        return fields
    }

    /** Where the items of a vector begin, and how many there are. */
    fun vector(position: Long, itemBytes: Int): FlatVector {
        val count = unsigned(position)
        if (position % 4 != 0L || position + 4 + count * itemBytes > size) {
            throw Damaged("one of its vectors ends outside of the file")
        }
        return FlatVector(position + 4, count.toInt())
    }

    /** Counts bytes of a vector that are read one by one. */
    fun spend(bytes: Long) {
        budget -= bytes
        if (budget < 0) throw Damaged("it refers to the same parts too often")
    }
}

/** Where the items of a vector begin, and how many there are. */
internal class FlatVector(val start: Long, val count: Int)

/** A table of a flatbuffer; fields are counted from 0, in the order of the schema. */
internal class FlatTable(val file: Flatbuffer, private val position: Long, private val vtable: IntArray) {
    /** The position of a field, or 0 if it is absent. */
    fun at(field: Int): Long {
        val offset = if (field + 1 < vtable.size) vtable[field + 1] else 0
        return if (offset != 0) position + offset else 0L
    }

    fun byte(field: Int): Int = at(field).let { if (it != 0L) file.byte(it) else 0 }

    fun unsignedByte(field: Int): Int = byte(field) and 0xff

    fun int(field: Int): Int = at(field).let { if (it != 0L) file.int(it) else 0 }

    fun unsigned(field: Int): Long = at(field).let { if (it != 0L) file.unsigned(it) else 0L }

    fun long(field: Int): Long = at(field).let { if (it != 0L) file.long(it) else 0L }

    /** The items of a vector; none if the field is absent. */
    fun vector(field: Int, itemBytes: Int): FlatVector {
        val place = at(field)
        return if (place != 0L) file.vector(file.target(place), itemBytes) else FlatVector(0L, 0)
    }

    fun ints(field: Int): IntArray {
        val found = vector(field, 4)
        file.spend(4L * found.count)
        return IntArray(found.count) { file.int(found.start + 4L * it) }
    }

    fun longs(field: Int): LongArray {
        val found = vector(field, 8)
        file.spend(8L * found.count)
        return LongArray(found.count) { file.long(found.start + 8L * it) }
    }

    fun floats(field: Int): FloatArray {
        val found = vector(field, 4)
        file.spend(4L * found.count)
        return FloatArray(found.count) { file.float(found.start + 4L * it) }
    }

    /** A string; empty if the field is absent. Bytes that are no text stand for themselves. */
    fun text(field: Int): String {
        val found = vector(field, 1)
        if (found.start != 0L && file.byte(found.start + found.count) != 0) {
            throw Damaged("one of its names is not terminated")
        }
        file.spend(found.count.toLong())
        val bytes = ByteArray(found.count) { file.byte(found.start + it).toByte() }
        return String(bytes, Charsets.UTF_8)
    }

    /** The table that a field leads to, or null. */
    fun table(field: Int): FlatTable? = at(field).let { if (it != 0L) file.table(file.target(it)) else null }

    /** The tables of a vector, [most] at most. */
    fun tables(field: Int, most: Int, what: String): List<FlatTable> {
        val found = vector(field, 4)
        if (found.count > most) throw Damaged("it has ${found.count} $what; at most $most are allowed")
        file.spend(4L * found.count)
        return List(found.count) { file.table(file.target(found.start + 4L * it)) }
    }
}
