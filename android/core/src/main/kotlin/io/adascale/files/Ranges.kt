// Allowed ranges of numbers in files, so that values read from files cannot overflow.
package io.adascale.files

import io.adascale.BadInput
import io.adascale.Text

/** Smallest and largest value, both allowed. */
internal class Range(val low: Double, val high: Double) {
    /** Refuses a number outside; null is nothing to refuse. */
    fun check(value: Number?, where: String) {
        if (value == null) return
        val number = value.toDouble()
        if (!(low <= number && number <= high)) {
            throw BadInput(
                "$where is ${Text.general(number)}, but it must be between ${Text.general(low)} and " +
                    "${Text.general(high)}; write the file again.",
            )
        }
    }

    /** As [check], of each of several numbers. */
    fun checkAll(values: Iterable<Number>, where: String) {
        for (value in values) check(value, where)
    }

    companion object {
        /** Any amount of seconds, milliseconds, joules, bytes. */
        val AMOUNT = Range(0.0, 1e15)

        /** An amount that something is divided by. */
        val POSITIVE = Range(1e-9, 1e12)

        /** A share. */
        val SHARE = Range(0.0, 1.0)

        /** A number that may be below zero, too. */
        val NUMBER = Range(-1e15, 1e15)
    }
}
