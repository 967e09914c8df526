"""``report``: one page about a bundle and its measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_tf.verbs.profile import Measured
from adascale_tf.verbs.replay import Replayed

if TYPE_CHECKING:
    from profiling.report import Item

    #: What a report may be about.
    Source = Item | Measured | Replayed | str


@dataclass(frozen=True)
class Reported:
    """A page, readable without a network."""

    out: Path


def report(sources: Source | Iterable[Source], out: str | Path, *, title: str = "adascale report") -> Reported:
    """Write one self-contained HTML page.

    Args:
        sources: One or several of: a bundle, measurements (also as :func:`~adascale_tf.verbs.profile.profile` gives
            them), a run or replay, predictors, and paths of their files, whose kind is told by their content.
        out: The page, named ``*.html``.
        title: Its title.

    Raises:
        BadInput: A file is of another kind, there are several bundles or predictors, or ``out`` does not end in .html.
    """
    from profiling import report as reporting

    page = Path(out)
    if page.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"The report is an HTML page, so {page} must end in .html or .htm.")
    inputs = reporting.gather(_items(sources))
    reporting.write(page, inputs.manifest, inputs.measurements, inputs.traces, inputs.predictors, title)
    return Reported(page)


def _items(sources: Any) -> Iterator[Item]:
    """Whatever was given, as what the report is made of."""
    if isinstance(sources, str):
        yield Path(sources)
    elif isinstance(sources, Measured):
        yield from sources.measurements
    elif isinstance(sources, Replayed):
        yield (sources.header, list(sources.events))
    elif isinstance(sources, Iterable) and not _is_trace(sources):
        for source in sources:
            yield from _items(source)
    else:
        yield sources


def _is_trace(given: Any) -> bool:
    """Whether this is a header with its events, as :func:`adascale_runtime.seams.events.read` gives them."""
    from adascale_runtime.seams.events import Header

    return isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Header)
