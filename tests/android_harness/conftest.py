"""The agent, an emulated phone, and profiles of it that count what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adascale_runtime.seams.bundle import Bundle
from android_harness import keys
from tests.fixtures.adbd import Adbd
from tests.fixtures.agents import Agent
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone
from tests.fixtures.profiles import Profile


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return Agent(tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "adbkey"
    keys.load(path)
    return path


@pytest.fixture()
def pixel(tmp_path: Path) -> Iterator[tuple[Phone, Adbd]]:
    with emulated(tmp_path / "phone", update_s=0.15) as found:
        yield found


@pytest.fixture()
def profile(built: Bundle, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    return Profile(built, key, tmp_path / "m.jsonl", monkeypatch)
