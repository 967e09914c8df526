package io.adascale.policies

import io.adascale.BadInput
import io.adascale.Text

/** The branch that answers first, and the one that is asked when it is not sure. */
public data class Pair(public val first: Option, public val second: Option)

/**
 * The rules of cascades: run a cheap branch first, and a better one if the first is unsure.
 *
 * The required confidence follows from the budget: as many inputs may run twice as the *mean* latency allows. The least
 * sure share of the recent answers is then asked again. Confidence is the largest class probability; a temperature makes
 * it a frequency, which decides nothing here but when to stop.
 *
 * Sources: Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001; Wang et al.,
 * "IDK Cascades: Fast Deep Learning by Learning not to Overthink", UAI 2018; Guo et al., "On Calibration of Modern Neural
 * Networks", ICML 2017 (temperature).
 */
public object Cascade {
    private const val COOLEST = 0.05
    private const val HOTTEST = 20.0
    private const val STEPS = 40

    /**
     * The pair that promises the highest accuracy with a mean latency within the budget; twice the same branch where one
     * alone promises as much.
     *
     * A share p of inputs can be asked twice, p = (budget - first) / second; they are taken to be those that the first
     * is least sure of, where the second is right as often as it is on all inputs and the first no more often than by
     * its misses allow: accuracy = a1 + min(p, 1 - a1) * a2, an estimate that only ranks pairs.
     *
     * @param table the options to choose from.
     * @param budgetMs what the mean latency should keep, in ms.
     * @throws BadInput no branch fits.
     */
    @JvmStatic
    public fun choose(table: List<Option>, budgetMs: Double): Pair {
        var best: Pair? = null
        for (first in table) {
            if (first.latencyMs > budgetMs) continue
            for (second in table) {
                if (second !== first && second.accuracy <= first.accuracy) continue
                val pair = Pair(first, second)
                if (best == null || better(pair, best, budgetMs)) best = pair
            }
        }
        return best ?: throw BadInput("No branch fits a mean of ${Text.general(budgetMs)} ms; loosen the budget.")
    }

    private fun better(pair: Pair, than: Pair, budgetMs: Double): Boolean {
        val mine = Formats.rounded(promise(pair, budgetMs), 9)
        val theirs = Formats.rounded(promise(than, budgetMs), 9)
        if (mine != theirs) return mine > theirs
        val first = Option.RANK.compare(pair.first, than.first)
        return first < 0 || (first == 0 && Option.RANK.compare(pair.second, than.second) < 0)
    }

    /** The accuracy that a pair promises. */
    private fun promise(pair: Pair, budgetMs: Double): Double {
        val (first, second) = pair
        if (first === second) return first.accuracy
        val share = (budgetMs - first.latencyMs) / second.latencyMs
        return first.accuracy + Math.min(share, 1.0 - first.accuracy) * second.accuracy
    }

    /** The share of inputs that may be asked twice for the mean latency to keep the budget, in [0, 1]. */
    @JvmStatic
    @JvmOverloads
    public fun shareOf(pair: Pair, budgetMs: Double, slowdown: Double = 1.0): Double {
        val left = budgetMs - pair.first.latencyMs * slowdown
        return Math.min(1.0, Math.max(0.0, left / (pair.second.latencyMs * slowdown)))
    }

    /** Class probabilities of logits (classes,). */
    @JvmStatic
    @JvmOverloads
    public fun softmax(values: DoubleArray, temperature: Double = 1.0): DoubleArray {
        val top = highest(values)
        val powers = DoubleArray(values.size) { Math.exp((values[it] - top) / temperature) }
        val total = powers.sum()
        for (index in powers.indices) powers[index] = powers[index] / total
        return powers
    }

    /** The largest class probability of logits (classes,). */
    @JvmStatic
    public fun confidence(values: DoubleArray, temperature: Double): Double {
        val top = highest(values)
        var total = 0.0
        for (value in values) total += Math.exp((value - top) / temperature)
        return 1.0 / total
    }

    /** The same of a branch's output. */
    @JvmStatic
    public fun confidence(values: FloatArray, temperature: Double): Double {
        var top = Double.NEGATIVE_INFINITY
        for (value in values) top = Math.max(top, value.toDouble())
        var total = 0.0
        for (value in values) total += Math.exp((value - top) / temperature)
        return 1.0 / total
    }

    /**
     * The temperature that makes confidences frequencies: the least negative log-likelihood, by golden section.
     *
     * @param outputs logits of a branch, (examples, classes).
     * @param labels the right class of each example.
     * @return a temperature in [0.05, 20].
     */
    @JvmStatic
    public fun fitTemperature(outputs: List<DoubleArray>, labels: IntArray): Double {
        var low = Math.log(COOLEST)
        var high = Math.log(HOTTEST)
        val ratio = (Math.sqrt(5.0) - 1) / 2
        var a = high - ratio * (high - low)
        var b = low + ratio * (high - low)
        var atA = loss(outputs, labels, a)
        var atB = loss(outputs, labels, b)
        repeat(STEPS) {
            if (atA < atB) {
                high = b
                b = a
                atB = atA
                a = high - ratio * (high - low)
                atA = loss(outputs, labels, a)
            } else {
                low = a
                a = b
                atA = atB
                b = low + ratio * (high - low)
                atB = loss(outputs, labels, b)
            }
        }
        return Math.exp((low + high) / 2)
    }

    private fun loss(outputs: List<DoubleArray>, labels: IntArray, logT: Double): Double {
        val t = Math.exp(logT)
        var sum = 0.0
        for (index in 0 until Math.min(outputs.size, labels.size)) {
            sum += Math.log(Math.max(1e-12, softmax(outputs[index], t)[labels[index]]))
        }
        return -sum
    }

    private fun highest(values: DoubleArray): Double {
        var top = Double.NEGATIVE_INFINITY
        for (value in values) top = Math.max(top, value)
        return top
    }
}

/**
 * Decides whether an answer is sure enough, so that on average a share of them is asked again.
 *
 * @property sure an answer of this confidence, in [0, 1], is never asked again.
 */
public class Gate @JvmOverloads constructor(public val sure: Double = 0.999) {
    private val recent = DoubleArray(RECENT)
    private var count = 0
    private var next = 0
    private var owed = 0.0

    /** Whether to ask again after an answer of this [confidence], if a [share] in [0, 1] of all answers may be. */
    public fun asks(confidence: Double, share: Double): Boolean {
        var less = 0
        var alike = 0
        for (index in 0 until count) {
            if (recent[index] < confidence) less++
            if (recent[index] == confidence) alike++
        }
        val room = share * count - less // so many of those that are alike may be asked
        val fits = room > 0.0 || count == 0
        recent[next] = confidence
        next = (next + 1) % RECENT
        if (count < RECENT) count++
        if (confidence >= sure || share <= 0.0 || !fits) return false
        if (room >= alike) return true
        owed += room / alike // integer branches answer alike often: of these, some are asked
        if (owed < 1.0) return false
        owed -= 1.0
        return true
    }

    /** Forgets all answers. */
    public fun clear() {
        count = 0
        next = 0
        owed = 0.0
    }

    public companion object {
        /** Answers whose confidences set the threshold. */
        public const val RECENT: Int = 200
    }
}
