package io.adascale.jvm

import io.adascale.files.Disk
import io.adascale.seams.Bundle
import org.junit.jupiter.api.Assumptions.assumeTrue
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/** The real bundles that `python -m tests.vectors.bundles` wrote, and LiteRT; tests are skipped where they are not. */
internal object Real {
    private val vectors: String = System.getProperty("adascale.vectors").orEmpty()

    val opener: LiteRtOpener by lazy { LiteRtOpener.load() }

    /** The place of a bundle: `digits`, `tiny` or `poisoned`. */
    fun folder(name: String): File {
        val folder = File(vectors, "bundles/$name")
        val litert = System.getProperty(LiteRtOpener.PROPERTY).orEmpty()
        val there = vectors.isNotEmpty() && folder.isDirectory && litert.isNotEmpty()
        if (!there) println("skipped: give -Dadascale.vectors=FOLDER with bundles, and -Dadascale.litert=libLiteRt.so")
        assumeTrue(there, "no real bundles")
        return folder
    }

    fun bundle(name: String): Bundle = Bundle.load(folder(name))

    /** The numbers of a file of little-endian float32. */
    fun floats(file: File): FloatBuffer =
        ByteBuffer.wrap(Disk.readBytes(file)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
}
