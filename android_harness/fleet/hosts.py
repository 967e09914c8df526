"""Hosts as named Dask workers: run functions on them, and report results, arrivals and losses.

A call belongs to one process of one host. If that process dies, so does the call, and the host comes back as another
process under the same name: Dask's own retries would hide that from who must know which phone is free.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import queue
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.text import excerpt
from android_harness.fleet.inventory import EXTRA, Inventory

#: Seconds between looks at which hosts are there.
LOOK_S = 0.5
#: Seconds for a scheduler to answer, and for a result that is ready to arrive.
ANSWER_S = 15.0
#: What processes on this machine do first: a Ctrl-C is the coordinator's, which then ends them.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
#: Seconds for the processes of a cluster on this machine to start.
START_S = 60.0
#: Seconds for a scheduler that is just being started to listen, and for a connection to it.
LISTEN_S = 3.0


@dataclass(frozen=True)
class Came:
    """A host is there, for the first time or as a new process."""

    host: str


@dataclass(frozen=True)
class Went:
    """A host's process is gone; ``tickets``: of calls that went with it."""

    host: str
    tickets: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A call ended: with a value, or with the ``error`` that it raised, in words."""

    ticket: str
    value: Any = None
    error: str | None = None


Event = Came | Went | Answer


@dataclass
class _Call:
    host: str
    address: str
    future: Any


class Hosts:
    """Hosts that are connected. Not thread-safe: one user."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._addresses: dict[str, str] = {}
        self._calls: dict[str, _Call] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._unsent: list[Event] = []
        self._looked = -LOOK_S + time.monotonic()

    def submit(self, host: str, function: Callable[..., Any], *arguments: Any, data: bytes | None = None) -> str:
        """Let a host call a function of an installed module; gives the ticket that its :class:`Answer` carries.

        ``data``: a last argument that is too large to travel with the call.
        """
        ticket = f"adascale-{uuid.uuid4().hex}"
        address = self._addresses[host]
        if data is not None:
            try:
                arguments += (self._client.scatter(data, workers=[address], hash=False, timeout=ANSWER_S),)
            except (OSError, TimeoutError, KeyError) as error:  # the last: the scheduler knows it no more
                self._unsent.append(Answer(ticket, error=f"{host} did not take {len(data)} bytes ({error})"))
                return ticket
        future = self._client.submit(function, *arguments, key=ticket, workers=[address], pure=False)
        self._calls[ticket] = _Call(host, address, future)
        future.add_done_callback(lambda _: self._ended.put(ticket))
        return ticket

    def wait(self, timeout_s: float) -> list[Event]:
        """What has happened; an empty list if nothing does within the time.

        Raises :class:`AdaScaleError` if the scheduler does not answer.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            events, self._unsent = self._unsent + self._look(), []
            left = 0.0 if events else max(0.0, deadline - time.monotonic())
            events += self._answers(min(LOOK_S, left))
            if events or time.monotonic() >= deadline:
                return events

    def _look(self) -> list[Event]:
        """Compare the hosts that are there with those of the last look."""
        if time.monotonic() - self._looked < LOOK_S:
            return []
        workers = None
        if self._client.status == "running":
            with contextlib.suppress(OSError):
                workers = self._client.scheduler_info(n_workers=-1).get("workers", {})  # some versions tell of five
        if workers is None:  # Dask tries to connect again
            if time.monotonic() - self._looked > ANSWER_S:
                raise AdaScaleError(
                    "The Dask scheduler no longer responds; what was measured is kept, so run the same command again "
                    "to resume."
                )
            return []
        self._looked = time.monotonic()
        now: dict[str, str] = {}
        for address, worker in workers.items():
            now.setdefault(str(worker.get("name")), str(address))
        now = {name: self._addresses[name] if self._addresses.get(name) in workers else a for name, a in now.items()}
        events: list[Event] = []
        for host, address in self._addresses.items():
            if now.get(host) != address:
                lost = [ticket for ticket, call in self._calls.items() if call.address == address]
                self._client.cancel([self._calls.pop(ticket).future for ticket in lost], force=True)
                events.append(Went(host, tuple(lost)))
        events += [Came(host) for host, address in now.items() if self._addresses.get(host) != address]
        self._addresses = now
        return events

    def _answers(self, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        with contextlib.suppress(queue.Empty):
            ticket = self._ended.get(timeout=timeout_s) if timeout_s else self._ended.get_nowait()
            while True:
                events += self._answer(ticket)
                ticket = self._ended.get_nowait()
        return events

    def _answer(self, ticket: str) -> list[Event]:
        call = self._calls.pop(ticket, None)
        if call is None:  # it went with its host
            return []
        if call.future.status == "cancelled":
            return [Answer(ticket, error=f"the scheduler dropped what {call.host} did")]
        try:
            return [Answer(ticket, call.future.result(timeout=ANSWER_S))]
        except TimeoutError:  # its process died with the value
            return [Answer(ticket, error=f"{call.host} did not deliver its results")]
        except Exception as error:  # of whatever kind the function raised on the host
            return [Answer(ticket, error=f"{type(error).__name__} on {call.host}: {error}")]


def watched(function: Callable[..., Any], *arguments: Any) -> Any:
    """On a host: call a function that takes, last, whether anybody still waits for what it does."""
    worker = _distributed().get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing" and worker.status.name in ("running", "paused")

    return function(*arguments, wanted)


@contextlib.contextmanager
def connect(inventory: Inventory) -> Iterator[Hosts]:
    """The fleet's hosts: of its scheduler, or processes on this machine, which end with the block.

    Raises :class:`BadInput` without the extra ``fleet``, :class:`AdaScaleError` if the scheduler cannot be reached.
    """
    distributed = _distributed()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if inventory.scheduler is None:
            address: Any = stack.enter_context(_local(inventory))
        else:
            address = inventory.scheduler
            _check_certificates(distributed, address, inventory.source)
            _check_listening(address, inventory.source)
        try:
            client = stack.enter_context(distributed.Client(address, timeout=ANSWER_S, set_as_default=False))
            if inventory.scheduler is None:
                client.wait_for_workers(len(inventory.hosts), timeout=START_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise _unanswered(address, type(error).__name__, inventory.source) from None
        cluster = Hosts(client)
        try:
            yield cluster
        finally:
            with contextlib.suppress(Exception):  # what still runs hears that nobody waits for it
                client.cancel([call.future for call in cluster._calls.values()], force=True)


def _unanswered(address: str, why: str, source: str) -> AdaScaleError:
    return AdaScaleError(
        f"No Dask scheduler responds at {address} ({why}); start it with 'dask scheduler', or correct 'scheduler' in "
        f"{source}."
    )


def _check_listening(address: str, source: str) -> None:
    """Somebody listens there, or begins to within a moment; Dask would go on trying for much longer."""
    host, _, port = address.partition("://")[2].partition("/")[0].rpartition(":")
    deadline = time.monotonic() + LISTEN_S
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=LISTEN_S) as link:
                link.settimeout(ANSWER_S)
                # A scheduler speaks first. Dask's client would wait for that word without end.
                if address.startswith("tcp://") and not link.recv(1):
                    raise OSError("it closes the connection")
            return
        except ConnectionRefusedError as error:
            if time.monotonic() > deadline:
                raise _unanswered(address, error.strerror or "refused", source) from None
            time.sleep(LOOK_S)
        except (OSError, ValueError, OverflowError) as error:
            why = excerpt(getattr(error, "strerror", None) or str(error))
            raise _unanswered(address, why, source) from None


def _check_certificates(distributed: Any, address: str, source: str) -> None:
    """Dask would wait for half a minute before it says the same in other words."""
    encrypted = address.startswith(("tls://", "wss://"))
    if encrypted and distributed.Security().get_connection_args("client").get("ssl_context") is None:
        raise BadInput(
            f"{source} names an encrypted scheduler, but Dask has no certificates here; set distributed.comm.tls in "
            "~/.config/dask/distributed.yaml (docs/fleets.md)."
        )


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise BadInput(EXTRA) from None


def _local(inventory: Inventory) -> Any:
    """A scheduler in this process and a process for each host, on 127.0.0.1 only, without dashboards."""
    dask, quiet = _distributed(), logging.CRITICAL
    here = {"host": "127.0.0.1", "dashboard": False}
    workers = {
        # One thread more than phones, for questions beside the work; no limit of memory that would stop the work.
        host.name: {
            "cls": dask.Nanny,
            "options": {
                **here,
                "nthreads": len(host.phones) + 1,
                "memory_limit": 0,
                "silence_logs": quiet,
                "preload": DEAF,
            },
        }
        for host in inventory.hosts
    }
    scheduler = {"cls": dask.Scheduler, "options": {**here, "port": 0, "dashboard_address": "127.0.0.1:0"}}
    return dask.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=quiet)
