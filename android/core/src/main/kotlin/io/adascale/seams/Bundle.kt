// The bundle: a folder with `manifest.json` and the branches' .tflite files, all that a phone needs.
package io.adascale.seams

import io.adascale.BadBundle
import io.adascale.BadInput
import io.adascale.Text
import io.adascale.files.Disk
import io.adascale.files.Json
import java.io.File

/**
 * An opened bundle, format `adascale-bundle/1`.
 *
 * @property root The folder that the manifest's paths are relative to.
 * @property manifest What it says.
 */
public data class Bundle(val root: File, val manifest: Manifest) {
    /** The place of a path of the manifest, which has forward slashes. */
    public fun path(relative: String): File = File(root, relative)

    /** A short name of this bundle's exact content, for traces: the first 12 hex digits of its files' sums. */
    public val digest: String
        get() = Disk.sha256(manifest.files.joinToString("") { it.sha256 }).take(12)

    public companion object {
        /** The format that this program reads. */
        public const val FORMAT: String = "adascale-bundle/1"

        /** The file in the folder that says what the others are. */
        public const val MANIFEST: String = "manifest.json"

        /**
         * Open a bundle folder and check every file's size and sha256. What is inside a .tflite is not looked at.
         *
         * @throws BadBundle Something is wrong; the sentence says what and where.
         */
        @JvmStatic
        public fun load(root: File): Bundle {
            if (!root.isDirectory) {
                throw BadBundle("$root is not a bundle: give the folder that 'adascale build' wrote.")
            }
            val place = File(root, MANIFEST)
            if (!place.isFile) throw BadBundle("$root is not a bundle: it has no $MANIFEST.")
            val manifest = readManifest(place)
            for (entry in manifest.files) checkFile(root, entry)
            return Bundle(root, manifest)
        }

        /**
         * A manifest that holds together; the files that it speaks of are not looked at.
         *
         * @throws BadBundle It does not.
         */
        @JvmStatic
        public fun readManifest(path: File): Manifest {
            try {
                return parseManifest(Disk.readBytes(path), path.toString())
            } catch (error: BadInput) {
                throw error as? BadBundle ?: BadBundle(error.sentence)
            }
        }

        /**
         * A manifest that holds together, from the content of its file, such as an app's asset.
         *
         * @param where Names the source in sentences.
         * @throws BadBundle It does not.
         */
        @JvmStatic
        public fun parseManifest(content: ByteArray, where: String): Manifest {
            try {
                val data = Json.parse(content, where)
                val format = (data as? Map<*, *>)?.get("format")
                if (format != FORMAT) {
                    throw BadBundle(
                        "$where has format '${Text.excerpt(format)}', but this program reads '$FORMAT'.",
                    )
                }
                val manifest = ManifestJson.decode(data, MANIFEST)
                Manifests.check(manifest, where)
                return manifest
            } catch (error: BadInput) {
                throw error as? BadBundle ?: BadBundle(error.sentence)
            }
        }

        /** A manifest as the text of its file. */
        @JvmStatic
        public fun manifestText(manifest: Manifest): String = Json.dump(ManifestJson.toJson(manifest))

        private fun checkFile(root: File, entry: FileEntry) {
            val path = File(root, entry.path)
            if (!path.isFile) throw BadBundle("$path is missing from the bundle; copy or build it again.")
            val size = path.length()
            if (size != entry.sizeBytes) {
                throw BadBundle(
                    "$path has $size bytes instead of ${entry.sizeBytes}; it was cut off or changed, so copy or " +
                        "build the bundle again.",
                )
            }
            val sum = try {
                Disk.sha256(path)
            } catch (error: BadInput) {
                throw BadBundle(error.sentence)
            }
            if (sum != entry.sha256) {
                throw BadBundle("$path has a wrong checksum; it was changed, so copy or build the bundle again.")
            }
        }
    }
}
