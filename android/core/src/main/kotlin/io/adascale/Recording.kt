package io.adascale

import io.adascale.seams.Event
import io.adascale.seams.Header
import io.adascale.seams.TraceWriter
import java.io.File

/** The trace that a session writes, if any. What fails while it is written ends it, and is told when it is stopped. */
internal class Recording {
    private var writer: TraceWriter? = null
    private var failed: AdaScaleError? = null

    /** Whether a trace is being written. */
    val active: Boolean get() = writer != null

    /** Begins a trace; throws if the file cannot be written. */
    fun start(file: File, header: Header) {
        finish()
        failed = null
        writer = TraceWriter(file, header)
    }

    /** Adds an event. */
    fun write(event: Event?) {
        if (event == null) return
        try {
            writer?.write(event)
        } catch (error: AdaScaleError) {
            failed = error
            finish()
        }
    }

    /** Ends the trace; throws if it could not be written to its end. */
    fun stop() {
        finish()
        val error = failed ?: return
        failed = null
        throw error
    }

    /** Ends the trace, and keeps what is wrong with it. */
    fun finish() {
        val ended = writer ?: return
        writer = null
        try {
            ended.close()
        } catch (error: AdaScaleError) {
            if (failed == null) failed = error
        }
    }
}
