from __future__ import annotations

import ast
import contextlib
import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import adascale_runtime
from adascale_runtime.cascade_session import CascadeSession
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.errors import AdaScaleError, BadBundle, BadInput
from adascale_runtime.seams.budget import Budget
from adascale_runtime.session import Session

ROOMY = Budget(latency_ms=1000.0)
PACKAGE = Path(adascale_runtime.__file__).parent
ON_PHONE = sorted(PACKAGE.rglob("*.py"))


def test_the_most_accurate_branch_answers_as_it_does_alone(healthy, image):
    with Session(healthy, ROOMY) as session:
        got = session.predict(image)
        again = session.predict(image[None])
    alone = open_branch(healthy, healthy.manifest.branch("full"))(image[None])
    np.testing.assert_array_equal(got, alone)
    np.testing.assert_array_equal(again, alone)
    assert got.dtype == np.float32
    assert session.last.branch == "full"
    assert session.last.kept
    assert session.last.latency_ms > 0


def test_idle_latencies_order_the_branches(healthy):
    table = {option.id: option for option in Session(healthy, ROOMY).table}
    assert table["full"].latency_ms > table["half"].latency_ms > table["tiny"].latency_ms > 0


def test_a_tight_budget_takes_the_branch_that_fits(healthy, image):
    idle = {option.id: option.latency_ms for option in Session(healthy, ROOMY).table}
    budget = Budget(latency_ms=(idle["half"] * idle["full"]) ** 0.5)
    with Session(healthy, budget) as session:
        session.predict(image)
    assert session.last.branch == "half"


def test_an_impossible_budget_is_refused_at_the_door(healthy):
    with pytest.raises(BadInput):
        Session(healthy, Budget(latency_ms=1e-6))
    with pytest.raises(BadInput):
        Session(healthy, Budget(min_accuracy=0.95))
    with pytest.raises(BadInput, match="nonsense"):
        Session(healthy, ROOMY, policy="nonsense")


def test_a_wrong_shape_is_one_sentence(healthy):
    with Session(healthy, ROOMY) as session, pytest.raises(BadInput, match="shape"):
        session.predict(np.zeros((3, 3), np.float32))


def test_the_next_best_serves_the_request_that_met_nan(poisoned, image):
    with Session(poisoned, ROOMY) as session:
        got = session.predict(image)
        assert session.last.branch == "half"
        session.predict(image)
    np.testing.assert_array_equal(got, open_branch(poisoned, poisoned.manifest.branch("half"))(image[None]))
    assert [option.id for option in session.table] == ["half", "tiny"]


def test_without_a_healthy_branch_there_is_a_sentence(all_poisoned, image):
    with Session(all_poisoned, ROOMY) as session, pytest.raises(AdaScaleError, match=r"\.$"):
        session.predict(image)


def test_a_branch_that_cannot_be_opened_is_left_out(unopenable, image):
    with Session(unopenable, ROOMY) as session:
        session.predict(image)
    assert session.last.branch == "half"


def test_static_policies_run_their_branch(healthy, image):
    for policy, branch in (("static-full", "full"), ("static-smallest", "tiny")):
        with Session(healthy, ROOMY, policy=policy) as session:
            session.predict(image)
            assert session.last.branch == branch


def test_threads_may_share_a_session(healthy, image):
    with Session(healthy, ROOMY) as session:
        expected = session.predict(image)
        outputs: list[np.ndarray] = []

        def work() -> None:
            for _ in range(20):
                outputs.append(session.predict(image))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(outputs) == 80
    assert all(np.array_equal(output, expected) for output in outputs)


def test_the_monitor_renews_itself():
    with Monitor(period_s=0.02) as monitor:
        first = monitor.latest()
        assert monitor.latest() is first or monitor.latest().time_s > first.time_s
        deadline = time.monotonic() + 5
        while monitor.latest() is first and time.monotonic() < deadline:
            time.sleep(0.01)
        latest = monitor.latest()
    assert latest.time_s > first.time_s
    assert latest.cpu_load is None or 0 <= latest.cpu_load <= 1
    assert latest.runnable is None or latest.runnable >= 0


def test_a_monitor_without_psutil_leaves_the_signals_open(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    context = Monitor().latest()
    assert (context.cpu_load, context.memory_free_mb, context.battery, context.temperature_c) == (None,) * 4


@pytest.mark.parametrize("path", ON_PHONE, ids=lambda path: path.name)
def test_phones_with_python_3_8_can_parse(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_importing_the_runtime_needs_the_standard_library_only():
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in ON_PHONE]
    code = (
        f"import sys, {', '.join(name.replace('.__init__', '') for name in names)}\n"
        "print([n for n in ('numpy', 'tensorflow', 'psutil', 'sklearn', 'ai_edge_litert') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def open_models() -> int:
    """Files of branches that this process has open."""
    return sum(
        place.is_symlink() and str(place.readlink()).endswith(".tflite") for place in Path("/proc/self/fd").iterdir()
    )


@pytest.fixture
def no_collector():
    """What is given back now is given back without Python's garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("delegates", [("cpu",), ("builtin", "cpu")])
@pytest.mark.parametrize("kind", [Session, CascadeSession])
def test_closing_gives_files_and_threads_back_at_once(healthy, image, kind, delegates, no_collector):
    before, threads = open_models(), threading.active_count()
    session = kind(healthy, ROOMY, threads=(1, 2), delegates=delegates)
    session.predict(image)
    assert open_models() >= before + 2
    with session as same:
        assert same is session and session.predict(image).shape == (1, 2)
    assert open_models() == before and threading.active_count() == threads
    session.close()
    with pytest.raises(AdaScaleError, match="closed"):
        session.predict(image)
    assert session.last.branch and session.table and session.broken == {} and session.warnings() == []


@pytest.mark.parametrize("delegate", ["cpu", "builtin"])
@pytest.mark.parametrize("kind", [Session, CascadeSession])
def test_a_session_that_is_dropped_holds_nothing_either(healthy, image, kind, delegate, no_collector):
    before = open_models()
    session = kind(healthy, ROOMY, delegates=(delegate,))
    session.predict(image)
    del session
    assert open_models() == before


def test_what_is_being_opened_when_a_session_closes_is_closed_too(healthy, image, no_collector):
    before = open_models()
    with Session(healthy, ROOMY, warm_mb=1e-6) as session:
        session.predict(image)
        session.ready.prepare("full")
        session.ready.prepare("half")
    deadline = time.monotonic() + 10
    while open_models() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_models() == before


def test_closing_waits_for_the_inference_that_runs(healthy, image):
    with Session(healthy, ROOMY) as session:
        answers: list[np.ndarray] = []

        def work() -> None:
            with contextlib.suppress(AdaScaleError):  # closed
                while True:
                    answers.append(session.predict(image))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        while len(answers) < 20:
            time.sleep(0.001)
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


@pytest.mark.parametrize("kind", [Path, str])
def test_a_session_takes_the_path_of_a_bundle(healthy, image, kind):
    with Session(kind(healthy.root), ROOMY) as session:
        session.predict(image)
        assert session.bundle == healthy
    with pytest.raises(BadBundle, match="is not a bundle"):
        Session(kind(healthy.root / "nothing"), ROOMY)
