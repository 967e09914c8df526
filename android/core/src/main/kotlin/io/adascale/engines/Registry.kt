package io.adascale.engines

/** What is known of delegates by their names, as far as policies need it. */
public object Registry {
    private val preempted: HashSet<String> = hashSetOf("cpu", "reference", "builtin")

    /**
     * Whether other processes take a delegate's time away: of those that run on the CPU; not of one that only the
     * machine behind a trace knows.
     */
    @JvmStatic
    public fun preempted(name: String): Boolean = synchronized(preempted) { name in preempted }

    /** Declares a delegate of an app's own that runs on the CPU. */
    @JvmStatic
    public fun declarePreempted(name: String) {
        synchronized(preempted) { preempted.add(name) }
    }
}
