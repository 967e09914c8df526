// Recipes: the readable names of branches, such as `width(0.5)+exit(2)+int8`.
package io.adascale.seams

import io.adascale.BadInput
import io.adascale.Text

/**
 * One operator of a recipe.
 *
 * @property operator Its name.
 * @property strength Its strength as text, or null.
 * @property block The block of the backbone that it is limited to, or null.
 */
public data class Step @JvmOverloads constructor(
    val operator: String,
    val strength: String? = null,
    val block: String? = null,
) {
    override fun toString(): String =
        operator + (if (strength == null) "" else "($strength)") + (if (block == null) "" else "@$block")
}

/**
 * An ordered list of steps; [toString] is its text and [parse] reads it back.
 *
 * The grammar, of which spaces are ignored: a recipe is `full` or steps joined by `+`; a step is
 * `operator(strength)@block`, of which strength and block may be left out.
 */
public data class Recipe @JvmOverloads constructor(val steps: List<Step> = emptyList()) {
    override fun toString(): String = if (steps.isEmpty()) FULL else steps.joinToString("+")

    /** A name that is safe in file names and signatures: `width0.5-exit2-int8`. */
    public val id: String
        get() = toString().replace("+", "-").replace("(", "").replace(")", "").replace(":", "_").replace("@", "-at-")

    public companion object {
        /** The recipe without a step. */
        public const val FULL: String = "full"
        private val STEP = Regex(
            "([a-z][a-z0-9_-]*)(?:\\(([A-Za-z0-9.:_-]+)\\))?(?:@([A-Za-z][A-Za-z0-9_.-]*))?",
        )
        private val NUMBER = Regex("[0-9]*\\.?[0-9]+|[0-9]+\\.")

        /**
         * The recipe that a text spells.
         *
         * @throws BadInput The sentence names the piece that is not a step.
         */
        @JvmStatic
        public fun parse(text: String): Recipe {
            val compact = Text.words(text).joinToString("")
            return if (compact == FULL) Recipe() else Recipe(compact.split("+").map { step(it, text) })
        }

        /**
         * The recipes of a comma-separated list, in order.
         *
         * @throws BadInput There is none, one is named twice, or a piece is not a step.
         */
        @JvmStatic
        public fun parseList(text: String): List<Recipe> {
            val recipes = text.split(",").filter { Text.strip(it).isNotEmpty() }.map { parse(it) }
            if (recipes.isEmpty()) {
                throw BadInput("The list of recipes is empty; name at least one, for example 'full,width(0.5)+int8'.")
            }
            val seen = HashSet<String>()
            for (recipe in recipes) {
                if (!seen.add(recipe.id)) {
                    throw BadInput("Recipe '$recipe' is listed twice; name each branch once.")
                }
            }
            return recipes
        }

        private fun step(piece: String, text: String): Step {
            val groups = STEP.matchEntire(piece)?.groups ?: throw BadInput(
                "'$piece' in recipe '${Text.strip(text)}' is not a step; write 'operator', 'operator(strength)' or " +
                    "'operator(strength)@block', joined by '+'.",
            )
            return Step(groups[1]?.value.orEmpty(), canonical(groups[2]?.value), groups[3]?.value)
        }

        /** Numbers lose their empty digits, so that `width(0.50)` and `width(.5)` are the branch `width(0.5)`. */
        private fun canonical(strength: String?): String? {
            if (strength == null || !NUMBER.matches(strength)) return strength
            val whole = strength.substringBefore('.').trimStart('0').ifEmpty { "0" }
            val fraction = strength.substringAfter('.', "").trimEnd('0')
            return if (fraction.isEmpty()) whole else "$whole.$fraction"
        }
    }
}
