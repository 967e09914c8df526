"""Write the figures of the documentation from the results of the benchmarks, with what each is worth today.

Writes docs/figures.md, and between ``<!-- figures:begin NAME -->`` and ``<!-- figures:end -->`` the lines of the
README and of other pages. A figure whose code has changed since it was measured is marked as such.

    python benchmarks/figures.py            the same as 'make figures'
    python benchmarks/figures.py --check    writes nothing; exit code 1 if a page differs, and names what is stale
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import evidence
from evidence import RESULTS, ROOT
from headline_tables import curves, equal_compute, ways
from sections import CURVES, WRITERS, Figure, Result, Writer, operators_table, prediction_table, table

from adascale_runtime.files import codec

PAGE = "docs/figures.md"
#: Pages with blocks of figures.
PAGES = ("README.md", "docs/operators.md", "docs/prediction.md", "docs/scale.md", "docs/training.md")
_BLOCK = re.compile(r"(<!-- figures:begin ?(\w*) -->\n).*?(<!-- figures:end -->)", re.DOTALL)
_INTRO = """\
# Figures

`make figures` writes this page, and the figures of other pages, from `benchmarks/results/*.json`. Each result holds its
raw samples, the commit, the date, the machine, the versions, and a digest of the code that it measures. If that code
has changed since, the figure is marked: it describes an earlier version. Run the benchmark again to renew it.

*Middle* and *worst* are of the repeats of a benchmark; a goal counts as met only if the worst repeat meets it. A figure
with one repeat does not show how far the next run may lie off. *Elsewhere* is what the same commands gave on
{elsewhere}

The demo's loop there, against the example in the README: {demo}
"""


def read(name: str) -> Result:
    """A result of the repository."""
    found: Result = json.loads((RESULTS / f"{name}.json").read_text())
    if found.get("smoke"):
        raise ValueError(f"{name}.json is of a smoke run, whose figures are void; run the benchmark without --smoke")
    return found


def measured() -> dict[str, Writer]:
    """The writers whose results are there."""
    return {name: write for name, write in WRITERS.items() if (RESULTS / f"{name}.json").exists()}


def mark(result: Result) -> str:
    """When a result was measured, and whether that still holds."""
    known = result["evidence"]
    changed = "; the code it measures has changed since" if evidence.stale(result) else ""
    local = " with local changes" if known["changed"] else ""
    return f"measured at commit {known['commit']}{local}{changed}"


def _where(result: Result) -> str:
    known = result["evidence"]
    machine = known["machine"]
    parts = [machine.get("cpu", machine["arch"]), f"{machine['cores']} cores"]
    if "memory_bytes" in machine:
        parts.append(f"{machine['memory_bytes'] / 2**30:.0f} GiB")
    parts += [
        f"{label} {machine[key]}" for key, label in (("kernel", "kernel"), ("python", "Python")) if key in machine
    ]
    parts += [f"{name} {version}" for name, version in known["versions"].items()]
    return f"{known['date']}: {', '.join(parts)}."


def provenance(name: str) -> str:
    """A sentence on where the figures of a result come from."""
    result = read(name)
    told = mark(result)
    return f"{told[0].upper()}{told[1:]}. {_where(result)}"


def seen_elsewhere() -> Result:
    """What other machines showed: facts of the machine, and by result and quantity a text."""
    found: Result = json.loads((RESULTS / "elsewhere.json").read_text())
    return found


def page() -> str:
    """docs/figures.md."""
    others = seen_elsewhere()
    where = f"{others['machine']}; {others['runs']}, at commit {others['commit']}."
    demo = "; ".join(f"{name}: {there} (README: {here})" for name, (here, there) in others["demo"].items())
    parts = [_INTRO.format(elsewhere=where, demo=f"{demo}.")]
    for name, write in measured().items():
        section = write(read(name))
        parts += [
            f"## {section.title}\n",
            f"`python benchmarks/{section.command}`\n",
            f"{provenance(name)}\n",
            f"{section.text}\n",
        ]
        if section.figures:
            parts.append(_figures(section.figures, others["figures"].get(name, {})) + "\n")
        parts += [f"{one}\n" for one in section.tables]
    missing = [name for name in WRITERS if name not in measured()]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join(parts)


def _figures(figures: list[Figure], others: dict[str, str]) -> str:
    """The table of a section, without columns that would be empty."""
    columns = {
        "": [f.quantity for f in figures], "goal": [f.goal for f in figures], "middle": [f.middle for f in figures],
        "worst": [f.worst for f in figures],
        "goal met": ["" if f.met is None else "yes" if f.met else "no" for f in figures],
        "elsewhere": [others.get(f.quantity.replace(", 99th percentile", ", p99"), "") for f in figures],
    }  # fmt: skip
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    return table(list(kept), zip(*kept.values(), strict=True))


def readme() -> str:
    """The README's figures: one line each."""
    others, rows = seen_elsewhere()["figures"], []
    for name, write in measured().items():
        result = read(name)
        for one in write(result).figures:
            if one.brief:
                reached = f"{one.middle}, worst {one.worst}" if one.worst and one.worst != one.middle else one.middle
                elsewhere = others.get(name, {}).get(one.quantity, "").partition(" (")[0].partition(", ")[0]
                rows.append((one.brief, one.goal, reached, elsewhere, mark(result).removeprefix("measured at commit ")))
    return table(("figure", "goal", "reached", "elsewhere", "measured at commit"), rows)


def training() -> str:
    """What the ways to train cost and reach, and the curves."""
    result = read("headline")
    parts = [f"{provenance('headline')}", f"{len(result['runs'])} seed(s), {result['epochs']} epochs of "
             f"{result['train_images']:,} images."]  # fmt: skip
    for one in (ways(result["runs"]), equal_compute(result["runs"])):
        parts += [f"{one.title}:", table(one.columns, one.rows)]
    parts.append(f"![Accuracy of what ships against training compute]({CURVES})")
    return "\n\n".join(parts)


BLOCKS: dict[str, Callable[[], str]] = {
    "": readme,
    "operators": lambda: f"{provenance('operators')}\n\n{operators_table(read('operators'))}",
    "training": lambda: training(),
    "predict": lambda: f"{provenance('predict')}\n\n{prediction_table(read('predict'))}",
    "scaling": lambda: "\n".join(
        f"* {read(name)['data']}: {mark(read(name))}." for name in ("adascale_sgd", "adascale_sgd_cifar10")
    ),
    "fleet": lambda: f"The costs of this section were {mark(read('fleet'))}.",
}


def filled(text: str) -> str:
    """A page with its blocks written anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


def pages() -> dict[str, str]:
    """Every page with figures as it should be, and the drawing on them, by path from the root."""
    drawing = str(Path(PAGE).with_name(CURVES))
    return {
        PAGE: page(),
        drawing: curves(read("headline")),
        **{name: filled((ROOT / name).read_text()) for name in PAGES},
    }


def stale() -> list[str]:
    """The results whose code has changed since they were measured."""
    return [name for name in measured() if evidence.stale(read(name))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page differs")
    options = parser.parse_args()
    wrong = [name for name, text in pages().items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if not options.check:
        for name in wrong:
            codec.write_text(ROOT / name, pages()[name])
    print(
        "\n".join(f"{name}: {'differs' if options.check else 'written'}" for name in wrong)
        or "All pages are up to date."
    )
    for name in stale():
        print(f"{name}: {mark(read(name))}")
    return int(options.check and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
