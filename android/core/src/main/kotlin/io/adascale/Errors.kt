// The errors that users meet. Each message is one sentence: what is wrong, where, and what to do.
package io.adascale

/** The job failed for a reason that one sentence explains. */
public open class AdaScaleError(message: String) : RuntimeException(message) {
    /** The sentence. */
    public val sentence: String
        get() = message.orEmpty()
}

/** What the user gave cannot be used: a recipe, a budget, a file, a folder. */
public open class BadInput(message: String) : AdaScaleError(message)

/** The bundle is damaged, foreign, or of a version that this program does not read. */
public class BadBundle(message: String) : BadInput(message)

/** A delegate that is not in the registry, or that this machine cannot run. */
public class UnknownDelegate(message: String) : BadInput(message)
