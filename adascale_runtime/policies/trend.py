"""Where load and heat are going: a value and its slope, smoothed, and how much it will have risen some seconds on.

Load and temperature are told of the moment before. A device that is warming up, or on which one process after the
other starts, will be worse off when the next inferences run.

References:
    Holt, "Forecasting seasonals and trends by exponentially weighted moving averages", 1957 (reprinted 2004), in the
    form for samples at uneven times.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional


class Trend(NamedTuple):
    """A signal as it is followed."""

    #: The smoothed value and what it changes by in a second; None before the first sample.
    value: Optional[float] = None
    slope: float = 0.0
    #: When this was true, in seconds.
    time_s: float = 0.0

    def follow(self, value: float, time_s: float, constant_s: float) -> "Trend":
        """The trend after a sample.

        Args:
            value: The sample.
            time_s: When it was taken; a clock that jumps backwards begins anew.
            constant_s: The time constant of the value, in seconds; that of the slope is twice as long.
        """
        if self.value is None or time_s < self.time_s:
            return Trend(value, 0.0, time_s)
        step_s = time_s - self.time_s
        expected = self.value + self.slope * step_s
        apart = value - expected
        return Trend(
            expected + (1.0 - math.exp(-step_s / constant_s)) * apart,
            self.slope + (1.0 - math.exp(-step_s / (2.0 * constant_s))) * apart / constant_s,
            time_s,
        )

    def rise(self, ahead_s: float) -> float:
        """By how much the signal will have risen so many seconds on; 0 where it falls, which is not relied on."""
        return max(0.0, self.slope) * ahead_s


#: Before anything was seen.
UNSEEN = Trend()
#: Time constants of the load and of the temperature, in seconds: the latter is read every two seconds.
LOAD_S, HEAT_S = 0.5, 4.0
