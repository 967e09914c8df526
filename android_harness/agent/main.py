"""The agent's command line: bench, loop, replay, serve, info; for Python 3.8 or later, in the adb shell or Termux.

Each mode imports what it needs when it starts: a phone compiles every module that is imported, at every start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from adascale_runtime.errors import AdaScaleError, BadInput

if TYPE_CHECKING:
    from adascale_runtime.engines.tensor import Tensor
    from adascale_runtime.seams.jobs import Message
    from adascale_runtime.session import Session


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a mode; gives the exit code: 0 done, 1 the job failed, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except AdaScaleError as error:
        print("agent: {}".format(error), file=sys.stderr)
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the harness is gone; nobody is left to tell
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="Measures and runs the branches of a bundle on a phone.")
    parser.add_argument("--litert", metavar="PATH", help="libLiteRt.so; without it an installed Python package is used")
    parser.add_argument(
        "--root", default=os.environ.get("ADASCALE_ROOT", "/"), help="folder to use as / in the paths of sensors"
    )
    modes = parser.add_subparsers(dest="mode", required=True)

    mode = modes.add_parser("info", help="what this device is and can do, as JSON")
    mode.set_defaults(run=_info)

    mode = modes.add_parser("bench", help="do the jobs of a plan, a JSON line each")
    mode.add_argument("plan", metavar="PLAN.json")
    mode.set_defaults(run=_bench)

    for name, text in (("loop", "the adaptive loop on the bundle's samples"), ("serve", "answer on a socket")):
        mode = modes.add_parser(name, help=text)
        mode.add_argument("bundle")
        mode.add_argument("--budget", required=True, help="latency_ms=5[,min_accuracy=0.9,memory_mb=..]")
        mode.add_argument("--delegate", default="cpu", help="one, or several that the policy chooses from: cpu,gpu")
        mode.add_argument("--threads", type=_counts, default=(1,), help="one number, or several: 2,1")
        mode.add_argument("--policy", default="adaptive")
        mode.add_argument("--warm-mb", type=float, default=None, help="memory for branches that are kept ready")
        mode.add_argument(
            "--predictors", type=Path, default=None, help="a file of 'adascale fit', for limits of energy"
        )
        mode.add_argument(
            "--device-name", default=None, help="device whose predictors to use: name, serial, model or processor"
        )
        mode.add_argument(
            "--best-effort", action="store_true", help="ignore limits on what this device does not report"
        )
        mode.add_argument("--out", type=Path, default=None, help="write events here, a trace for 'replay'")
        if name == "loop":
            mode.add_argument("--seconds", type=float, default=10.0)
            mode.add_argument("--fps", type=float, default=None)
            mode.set_defaults(run=_loop)
        else:
            mode.add_argument("--listen", default="0", help="a port of the loopback (0: a free one) or a socket's path")
            mode.add_argument(
                "--idle-s",
                type=_seconds,
                default=None,
                help="close connections that are silent for this many seconds",
            )
            mode.add_argument(
                "--token", default=None, help="answer only lines that name it; default: the variable ADASCALE_TOKEN"
            )
            mode.add_argument("--token-file", type=Path, default=None, help="a file whose first line is the token")
            mode.set_defaults(run=_serve)

    mode = modes.add_parser("replay", help="decisions of the policy on a recorded trace, a JSON line each")
    mode.add_argument("bundle")
    mode.add_argument("--trace", type=Path, required=True)
    mode.add_argument("--budget", required=True)
    mode.add_argument("--policy", default="adaptive")
    mode.set_defaults(run=_replay)
    return parser


def _seconds(text: str) -> float:
    """A positive number of seconds."""
    seconds = float(text)
    if not 0.0 < seconds < 1e9:
        raise ValueError(text)
    return seconds


def _counts(text: str) -> Tuple[int, ...]:
    """Numbers of threads; argparse turns the ValueError of anything else into a sentence."""
    return tuple(int(word) for word in text.split(","))


def _info(options: Any) -> None:
    from adascale_runtime.device import sensors
    from adascale_runtime.engines import delegates
    from adascale_runtime.files import codec
    from android_harness.agent import engines, work

    info: Dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "engine": None,
        "delegates": [],
        "context": work.snapshot(options.root),
    }
    try:
        info["engine"] = engines.install(options.litert)
        info["delegates"] = list(delegates.available())
    except AdaScaleError as error:
        info["reason"] = str(error)
    try:
        info["max_freq_mhz"] = sensors.frequencies_mhz(options.root, "cpuinfo_max_freq")
    except (OSError, ValueError):
        info["max_freq_mhz"] = None
    print(json.dumps(codec.to_json(info)))


def _bench(options: Any) -> None:
    from adascale_runtime.files import codec
    from adascale_runtime.seams import jobs
    from android_harness.agent import bench

    agenda = codec.from_json(bench.Agenda, codec.read_json(Path(options.plan)), options.plan)

    def say(message: "Message") -> None:
        print(jobs.line(message), end="", flush=True)

    bench.bench(agenda, options.litert, options.root, say)


def _session(options: Any) -> "Session":
    from adascale_runtime.device import audit, identity, sensors
    from adascale_runtime.device.monitor import Monitor
    from adascale_runtime.seams import budget as budgets
    from adascale_runtime.seams import bundle as bundles
    from adascale_runtime.seams import predictors
    from adascale_runtime.session import Session
    from android_harness.agent import engines

    engines.install(options.litert)
    bundle = bundles.load(options.bundle)
    known = None
    if options.predictors is not None:
        known = predictors.choose(options.predictors, options.device_name, identity.facts(options.root))
    monitor = Monitor(sampler=sensors.FileSampler(options.root))
    session = Session(
        bundle,
        budgets.parse(options.budget),
        predictors=known,
        delegates=tuple(options.delegate.split(",")),
        threads=options.threads,
        policy=options.policy,
        monitor=monitor,
        warm_mb=options.warm_mb,
        best_effort=options.best_effort,
        auditor=audit.here(options.root),
    )
    for sentence in session.warnings():
        print("agent: {}".format(sentence), file=sys.stderr)
    return session


def _loop(options: Any) -> None:
    from adascale_runtime import loop
    from adascale_runtime.files import codec

    with _session(options) as session, loop.writer(options.out) as write:
        pace = None if options.fps is None else 1.0 / options.fps
        events = loop.run(session, _cycle(session), options.seconds, write, pace_s=pace)
    print(json.dumps(codec.to_json(loop.summary(events))))


def _cycle(session: "Session") -> "Iterator[Tuple[Tensor, int]]":
    """The bundle's samples with their labels, over and over."""
    from android_harness.agent import work

    inputs, labels = work.samples(session.bundle), session.bundle.manifest.samples.labels
    while True:
        for x, label in zip(inputs, labels):
            yield x, label


def _serve(options: Any) -> None:
    from adascale_runtime import loop
    from android_harness.agent import serve, work

    token = serve.token_of(options.token, options.token_file)
    with _session(options) as session, loop.writer(options.out) as write:
        inputs = work.samples(session.bundle)
        idle_s = options.idle_s or serve.IDLE_S
        serve.serve(session, inputs, options.listen, _listening, idle_s=idle_s, token=token, write=write)


def _listening(where: str) -> None:
    print(json.dumps({"listening": where}), flush=True)


def _replay(options: Any) -> None:
    from adascale_runtime.files import codec
    from adascale_runtime.policies import replay as replaying
    from adascale_runtime.seams import budget as budgets
    from adascale_runtime.seams import events
    from android_harness.agent import work

    header, recorded = events.read(options.trace)
    bundle = work.open_bundle(options.bundle)
    if header.bundle != bundle.digest:
        raise BadInput(
            "{} was recorded with another bundle; give the bundle it was recorded with.".format(options.trace)
        )
    budget = budgets.parse(options.budget)
    replayed = replaying.replay(bundle, header, recorded, budget, options.policy)
    for sentence in replaying.ignored(header, recorded, budget):
        print("agent: {}".format(sentence), file=sys.stderr)
    for event in replayed:
        print(codec.dump_line(event), end="")


if __name__ == "__main__":
    sys.exit(main())
