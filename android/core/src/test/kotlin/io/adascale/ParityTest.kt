package io.adascale

import io.adascale.files.Json
import io.adascale.seams.Budget
import io.adascale.seams.Bundle
import io.adascale.seams.Context
import io.adascale.seams.Features
import io.adascale.seams.Losses
import io.adascale.seams.ManifestJson
import io.adascale.seams.Predictors
import io.adascale.seams.Recipe
import io.adascale.seams.Traces
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

/** What Python reads, refuses and computes, Kotlin does, too. */
class ParityTest {
    @Test
    fun `numbers are written as Python writes them`() {
        for (case in Vectors.cases("numbers")) {
            val value = Double.fromBits((case["bits"] as String).toLong())
            assertEquals(case["repr"], Text.repr(value))
            assertEquals(case["general"], Text.general(value))
        }
    }

    @Test
    fun `texts from outside are shown as Python shows them`() {
        for (case in Vectors.cases("texts")) assertEquals(case["excerpt"], Text.excerpt(case["value"]))
    }

    @Test
    fun `JSON is read and refused as in Python`() {
        Vectors.agree(Vectors.cases("json")) { Json.dumpLine(Json.parse(Vectors.content(it), Vectors.WHERE)) }
    }

    @Test
    fun `budgets mean the same`() {
        Vectors.agree(Vectors.cases("budgets")) { Budget.parse(it["text"] as String).limits() }
    }

    @Test
    fun `recipes mean the same`() {
        Vectors.agree(Vectors.cases("recipes")) { case ->
            val recipe = Recipe.parse(case["text"] as String)
            val steps = recipe.steps.map {
                mapOf("operator" to it.operator, "strength" to it.strength, "block" to it.block)
            }
            mapOf("text" to recipe.toString(), "id" to recipe.id, "steps" to steps)
        }
    }

    @Test
    fun `bundles have the same digest`() {
        for (case in Vectors.cases("bundles")) {
            val bundle = Bundle.load(File(Vectors.folder(), case["folder"] as String))
            assertEquals(case["digest"], bundle.digest)
            val branches = bundle.manifest.branches
            assertEquals(case["words"], branches.flatMap { branch -> branch.support.map { it.words } })
            assertTrue(Vectors.near(case["intervals"], branches.map { it.accuracy.interval.toList() }))
        }
    }

    @Test
    fun `manifests are read and refused as in Python`() {
        Vectors.agree(Vectors.cases("manifests")) {
            val manifest = Bundle.parseManifest(Vectors.content(it), Vectors.WHERE)
            mapOf(
                "dump" to Bundle.manifestText(manifest),
                "remarks" to Losses.remarks(manifest),
                "lossy" to manifest.branches.map { branch -> manifest.lossy(branch) },
            )
        }
    }

    @Test
    fun `predictors are read and refused as in Python`() {
        Vectors.agree(Vectors.cases("predictors")) {
            Predictors.text(Predictors.parse(Vectors.content(it), Vectors.WHERE))
        }
    }

    @Test
    fun `predictions are the same`() {
        val fitted = Predictors.parse(Vectors.content(Vectors.cases("predictors")[0]), Vectors.WHERE).predictors
        val cases = Vectors.cases("predictions")
        val branches = (cases[0]["branches"] as List<*>).map { ManifestJson.branch(it, Vectors.WHERE) }
        Vectors.agree(cases.drop(1)) { case ->
            val one = fitted[(case["predictor"] as Long).toInt()]
            val branch = branches[(case["branch"] as Long).toInt()]
            val context: Context? = case["context"]?.let { Traces.context(it, Vectors.WHERE) }
            val latency = case["latency_ms"] as Double?
            val speed = case["speed"] as Double
            val pieces = one.partitions(branch.support)
            mapOf(
                "partitions" to pieces,
                "value" to one.predict(branch.cost, branch.precision, context, latency, speed, pieces),
                "interval" to one.interval(branch.cost, branch.precision, context, latency, speed, pieces)?.toList(),
                "features" to one.features(branch.cost, branch.precision, pieces),
                "outside" to one.outside(branch.cost, branch.precision, pieces),
                "hit_rate" to Features.hitRate(branch.cost, 16384.0),
            )
        }
    }

    @Test
    fun `the same device is chosen`() {
        val all = Predictors.parse(Vectors.content(Vectors.cases("predictors")[0]), Vectors.WHERE)
        Vectors.agree(Vectors.cases("devices")) { case ->
            val wanted = case["wanted"] as String?
            val facts = (case["facts"] as Map<*, *>).entries.associate { it.key as String to it.value as String }
            (if (wanted == null) all.here(facts) else all.of(wanted)).devices
        }
    }

    @Test
    fun `traces are read and refused as in Python`(@TempDir folder: File) {
        val file = File(folder, "f")
        Vectors.agree(Vectors.cases("traces")) { case ->
            file.writeBytes(Vectors.content(case))
            val trace = try {
                Traces.read(file)
            } catch (error: BadInput) {
                throw BadInput(error.sentence.replace(file.path, Vectors.WHERE))
            }
            listOf(Traces.line(trace.header)) + trace.events.map { Traces.line(it) }
        }
    }
}
