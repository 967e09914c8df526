"""The validation split: training examples that are held out for choosing, so that the test split only reports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adascale_tf.data.dataset import Dataset

#: Share of each class's training examples that is held out, and the most in all.
SHARE, MOST = 0.1, 2000
#: Of fewer training examples none can be spared.
_LEAST = 200


def hold_out(data: Dataset) -> Dataset:
    """The data with a tenth of each class's training examples, 2,000 in all at most, as its validation split.

    The same examples every time, so that whoever reads the data again holds out what no branch was trained on. Data
    with a validation split stays as it is, and so does data of fewer than 200 training examples.
    """
    count = len(data.x_train)
    if len(data.y_val) or count < _LEAST:
        return data
    share = min(SHARE, MOST / count)
    rng = np.random.default_rng(0)
    held = np.zeros(count, bool)
    for label in range(len(data.labels)):
        of_class = np.flatnonzero(data.y_train == label)
        held[rng.permutation(of_class)[: int(share * len(of_class))]] = True
    return replace(
        data, x_train=data.x_train[~held], y_train=data.y_train[~held],
        x_val=data.x_train[held], y_val=data.y_train[held],
    )  # fmt: skip
