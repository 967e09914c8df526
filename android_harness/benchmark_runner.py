"""Measuring with Google's native ``benchmark_model``: for phones without Python, and for NNAPI.

The tool prints statistics, no samples, so a block is one latency: the mean of its runs, of which there are as many as
asked for and at least a second's worth, after half a second of warm-up. Of runs before them only the first is told. Its
inputs are random and its outputs stay inside, so nothing is compared with the bundle.
"""

from __future__ import annotations

import contextlib
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adascale_runtime.device import nnapi, sensors
from adascale_runtime.engines.delegates import lookup
from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, End, EnergyFact, Fact, Process, Start
from adascale_runtime.seams.jobs import Begin, Done, Failed, Finished, Job, Message, Wait
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.records import Context, Delegation, OperatorTime
from android_harness import store
from android_harness.adb import Adb
from android_harness.agent import work
from android_harness.agent.alone import Owner
from android_harness.agent.work import JobFailed
from android_harness.benchmark_log import BenchmarkLog, command, parse
from android_harness.phone_facts import OUTPUT
from android_harness.runner import Options
from profiling.runners import runner

TOOL = "benchmark_model"
NO_ENERGY = "benchmark_model measures no energy; use the agent"
#: What spares a run that is not timed the second that the tool would go on for.
SHORT = " --min_secs=0 --warmup_min_secs=0"
CORES = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
#: The files of a phone that tell its context, but for ``/proc/stat``, which is read twice.
FILES = (
    f"/proc/loadavg /proc/meminfo {CORES}/scaling_cur_freq {CORES}/scaling_max_freq "
    "/sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp "
    "/sys/class/power_supply/*/type /sys/class/power_supply/*/status /sys/class/power_supply/*/capacity "
    "/sys/class/power_supply/*/online"
)
#: The beginning of a file's name in what ``grep -H`` prints; no other name is written.
_NAME = re.compile(r"/(?:proc|sys/devices/system/cpu|sys/class)(?:/[\w@+,=-][\w@+,=.-]{0,99}){1,9}$")
_UNKNOWN_SIGNATURE = re.compile(r"Unconsumed cmdline flags:.*--signature_to_run_for")


@runner("benchmark_model")
class BenchmarkRunner:
    """Google's native benchmark_model, which the runner brings and starts anew for each job."""

    def __init__(self, options: Options, bundle: Bundle, owner: Owner | None = None) -> None:
        self.options, self.bundle, self.owner = options, bundle, owner
        self._path = TOOL
        self.versions: dict[str, str] = {"engine": "benchmark_model"}
        self._cores, self._mask = None, None  # type: int | None, str | None

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        binary, abi = self.options.binary, facts.get("abi") or "its processor"
        if binary is None or not binary.is_file():
            absent = "" if binary is None else f"; {binary} is not a file"
            raise BadInput(f"--runner benchmark_model needs --binary PATH, the tool built for {abi}{absent}.")
        level = nnapi.api_level(facts)
        if "nnapi" in delegates and level is not None and nnapi.version(level) is None:
            least = min(nnapi.LEVELS.values())
            raise BadInput(f"{adb.address} has no NNAPI: its API level is {level}, and NNAPI begins with {least}.")
        files = store.tool_files(TOOL, binary)
        store.bring(adb, files, tick, self.owner)
        self._path = f"{store.FOLDER}/{next(iter(files))}"
        adb.check(f"chmod 755 {self._path}")
        code, said = adb.shell(f"{self._path} --help")
        if code in (126, 127):  # the shell's words for what it cannot start
            raise BadInput(f"{binary} does not start on {adb.address} ({_last(said)}); it must be built for {abi}.")
        self._cores = facts.get("cores")
        self._mask = self.options.affinity and self._mask_of(self.options.affinity, adb)

    def run(self, adb: Adb, jobs: Sequence[Job]) -> Iterator[Message]:
        broken: set[str] = set()
        for job in (job for job in jobs if job.cell not in broken):
            yield from self._cool(adb)
            yield Begin(job.kind, job.key)
            try:
                fact = self._do(adb, job)
            except JobFailed as error:
                broken.add(job.cell)
                yield Failed(job.kind, job.key, job.cell, str(error))
            else:
                yield Finished(job.kind, job.key, fact)
        yield Done()

    def _do(self, adb: Adb, job: Job) -> Fact:
        if job.kind == "end":
            return End(self._context(adb))
        if job.kind == "energy":
            return EnergyFact(reason=NO_ENERGY)
        if job.kind == "block":
            latency_ms = self._tool(adb, job, job.runs).latency_ms
            assert latency_ms is not None  # else the tool has failed
            return Block((latency_ms,))
        if job.kind == "process":
            return _process(self._tool(adb, job, 1, SHORT))
        context, log = self._context(adb), self._tool(adb, job, 1, SHORT)
        profiled = self._tool(adb, job, 1, SHORT, op_profile=True) if self.options.op_profile else None
        operators = () if profiled is None else tuple(OperatorTime(o.kind, o.mean_ms, False) for o in profiled.ops)
        taken, reason = self._taken(log, job)
        first = () if log.first_ms is None else (log.first_ms,)
        return Start(context, first, delegation=taken, delegation_reason=reason, operators=operators)

    def _tool(self, adb: Adb, job: Job, runs: int, more: str = "", op_profile: bool = False) -> BenchmarkLog:
        """What one run of the tool says; :class:`JobFailed` if that is no measurement of the branch on its delegate."""
        branch, name = self.bundle.manifest.branch(job.branch), job.delegate
        graph = f"{store.FOLDER}/{store.bundle_folder(self.bundle)}/{branch.file}"
        asked = command(
            self._path,
            graph,
            name,
            job.threads,
            runs,
            1,
            op_profile=op_profile,
            mask=self._mask,
            signature=branch.signature,
        )
        code, text = adb.shell(asked + more, self.options.patience_s)
        log = parse(text + "\n", name)
        if code:
            cause = f"could not apply {name} and " if log.failed_delegate else ""
            raise JobFailed(f"benchmark_model {cause}{_ended(code)}; its last output was: {_last(text)}")
        if log.latency_ms is None:
            raise JobFailed(f"benchmark_model printed no inference time; its last output was: {_last(text)}")
        if self._sharing(branch) > 1 and _UNKNOWN_SIGNATURE.search(text):
            raise JobFailed(f"This benchmark_model is too old to choose among the branches in {branch.file}.")
        kernels = lookup(name).hardware == "cpu"
        if (log.failed_delegate if kernels else log.verdict != "fully") and not self.options.allow_fallback:
            left = {"not": "all operators", "partly": "operators"}.get(log.verdict or "", "perhaps operators")
            rest = "plain kernels" if kernels else "the CPU"
            raise JobFailed(f"{name} left {left} to {rest}; give --allow-fallback to measure it anyway.")
        return log

    def _taken(self, log: BenchmarkLog, job: Job) -> tuple[Delegation | None, str | None]:
        """What the delegate took of the branch, or None with the reason."""
        branch = self.bundle.manifest.branch(job.branch)
        ops, sharing, told = branch.cost.ops, self._sharing(branch), log.delegation
        if sharing == 1 and told is not None:
            return told, None
        if log.verdict == "fully":  # the tool says so of a graph that is one node of the delegate
            return Delegation(ops, ops, 1), None
        if log.failed_delegate or (lookup(job.delegate).plain and log.delegate is None):
            return Delegation(ops, 0, 0), None
        if told is not None:
            counts = f"{told.delegated} of {told.nodes} operators"
            return None, f"benchmark_model counts {counts} for the {sharing} branches of the file together"
        return None, f"benchmark_model does not report how many operators {job.delegate} took"

    def _sharing(self, branch: Branch) -> int:
        """How many branches are in the branch's file."""
        return sum(other.file == branch.file for other in self.bundle.manifest.branches)

    def _cool(self, adb: Adb) -> Iterator[Message]:
        limit, patience_s, begun = self.options.cooldown_c, self.options.patience_s, time.monotonic()
        while limit is not None:
            celsius, waited = self._context(adb).temperature_c, time.monotonic() - begun
            if celsius is None or celsius <= limit or waited > patience_s:
                return
            yield Wait(f"{celsius:.1f} C, cooling to {limit:g} C", round(waited, 1))
            time.sleep(min(1.0, max(0.05, patience_s / 20)))

    def _context(self, adb: Adb) -> Context:
        """The context, as the agent would read it from the same files, here brought over by one command."""
        stat = "grep -sH '^cpu ' /proc/stat"
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            loads = _lay(adb, f"{stat}; grep -sH . {FILES}; sleep {work.SNAPSHOT_S}; {stat}", root)
            sampler = sensors.FileSampler(folder)
            for load in (loads[:1], loads[-1:]):
                (root / "proc/stat").write_text("".join(load))
                context = sampler.sample(time.monotonic())
        return replace(context, cores=self._cores, reasons=sampler.reasons or None)

    def _mask_of(self, affinity: str, adb: Adb) -> str:
        with tempfile.TemporaryDirectory() as folder:
            _lay(adb, f"grep -sH . {CORES}/cpuinfo_max_freq", Path(folder))
            return f"{sum(1 << core for core in work.cores_of(affinity, folder, self._cores)):x}"


def _process(log: BenchmarkLog) -> Process:
    memory, reason = log.memory_overall_mb, None
    if memory is None:
        reason = "benchmark_model printed no memory footprint"
    elif memory < 0:
        reason = f"benchmark_model's memory footprint shrank by {-memory:g} MB while it ran"
    return Process(log.load_ms, None if reason else memory, reason)


def _lay(adb: Adb, asked: str, root: Path) -> list[str]:
    """Write what ``grep -H`` prints of the phone's files to files below ``root``; gives the lines of ``/proc/stat``."""
    files: dict[str, list[str]] = {"/proc/stat": []}
    for line in adb.shell(asked)[1][:OUTPUT].splitlines():
        name, _, value = line.partition(":")
        if match := _NAME.search(name[-1000:]):  # the end: a log may stand before it
            files.setdefault(match[0], []).append(value + "\n")
    for name, lines in files.items():
        path = root / name.lstrip("/")
        with contextlib.suppress(OSError):  # a name that is a file and a folder
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines))
    return files["/proc/stat"]


def _ended(code: int) -> str:
    names = {128 + number: number.name for number in signal.Signals}
    return f"was killed by {names[code]}" if code in names else f"ended with code {code}"


def _last(text: str) -> str:
    """The last line that says something, readable whatever it holds."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c if c.isprintable() else "?" for c in lines[-1][:160]).rstrip(".") + "." if lines else "none."
