package io.adascale

import io.adascale.device.NoSignals
import io.adascale.device.Signals
import io.adascale.engines.FileModel
import io.adascale.engines.Model
import io.adascale.policies.Settings
import io.adascale.seams.Branch
import io.adascale.seams.Bundle
import io.adascale.seams.Predictors
import java.io.File

/** Where the files of a bundle's branches are; by default in its folder. */
public fun interface Models {
    /** The file of a branch. */
    public fun model(bundle: Bundle, branch: Branch): Model
}

/** What a session is told besides bundle and budget. It is read once, when a session opens. */
public class SessionOptions {
    /** Predict energy and memory; needed by budgets of energy, power and battery life. */
    public var predictors: Predictors? = null

    /** What may execute branches, the usual one first. */
    public var delegates: List<String> = listOf("cpu")

    /** The numbers of threads to choose from, the usual one first. */
    public var threads: List<Int> = listOf(1)

    /** The name of a policy, see [io.adascale.policies.Policies.names]. */
    public var policy: String = "adaptive"

    /** How cautious the policy is and how fast it learns. */
    public var settings: Settings = Settings()

    /** Where the device's context comes from. */
    public var signals: Signals = NoSignals

    /**
     * Memory for all branches that are kept ready, in MB; others are prepared in the background when the policy wants
     * them, while a ready one answers. Null keeps all of them ready. The device's own memory is looked at besides:
     * [Settings.reserveMb] of it are left alone.
     */
    public var warmMb: Double? = null

    /** Whether limits that this device has no sensor for are ignored instead of refused. */
    public var bestEffort: Boolean = false

    /** Where what is learned of the device is kept for the next session; null keeps nothing. */
    public var habits: File? = null

    /** The device's name in [habits]. */
    public var device: String = "this device"

    /** Where the branches' files are. */
    public var models: Models = InFolder

    private object InFolder : Models {
        override fun model(bundle: Bundle, branch: Branch): Model = FileModel(bundle.path(branch.file))
    }
}
