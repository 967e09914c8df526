"""fleet.yaml: what it may say, and a sentence for every mistake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from android_harness.fleet.inventory import Host, Inventory, load, parse

LAB = """
scheduler: tcp://lab:8786
share: none
cells_per_lease: 2
hosts:
  lab-a: {phones: [192.168.1.20:5555, "usb:R58M123"], key: /home/lab/.android/adbkey}
  lab-b:
    phones: ["192.168.1.20", lab-phone:5556]
"""
HOSTS = {"lab-a": {"phones": ["192.168.1.20"]}}


def test_a_fleet_is_read(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(LAB)
    found = load(tmp_path / "fleet.yaml")
    assert found == Inventory(
        (
            Host("lab-a", ("192.168.1.20:5555", "usb:R58M123"), "/home/lab/.android/adbkey"),
            Host("lab-b", ("192.168.1.20:5555", "lab-phone:5556")),
        ),
        "tcp://lab:8786",
        "none",
        2,
    )
    assert found.source == str(tmp_path / "fleet.yaml")
    assert parse({"hosts": HOSTS}) == Inventory((Host("lab-a", ("192.168.1.20:5555",)),))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hosts: [", r"fleet.yaml line \d is not YAML"),
        ("hosts: {a: {phones: [x:1]}, a: {phones: [y:1]}}", "'a' appears twice"),
        ("", "should be a fleet with 'hosts:', but is empty"),
        ("- a", "should be a fleet with 'hosts:'"),
        ("host: {}", "has 'host', which is not a known entry; use scheduler"),
        ("share: model", "hosts should be host names"),
        ("hosts: {}", "names no host"),
        ("hosts: {a b: {phones: [x:1]}}", "'a b' cannot be a host's name"),
        ("hosts: {1: {phones: [x:1]}}", "'1' cannot be a host's name"),
        ("hosts: {a: [x:1]}", r"fleet.yaml: a should be 'phones: \[...\]'"),
        ("hosts: {a: {phone: [x:1]}}", "has 'phone', which is not a known entry"),
        ("hosts: {a: {phones: x:1}}", "a has no phones"),
        ("hosts: {a: {phones: []}}", "a has no phones"),
        ("hosts: {a: {phones: [1:30]}}", "in quotes"),
        ("hosts: {a: {phones: ['x:99999']}}", "a: 'x:99999' is not a phone"),
        ("hosts: {a: {phones: ['x', 'x:5555']}}", "has the phone x:5555 twice"),
        ("hosts: {a: {phones: ['usb', 'usb:A']}}", "name each as usb:SERIAL"),
        ("hosts: {a: {phones: ['x'], key: 3}}", "name the file of the RSA key"),
        ("{scheduler: lab, hosts: {a: {phones: [x]}}}", "write its address as tcp://lab:8786"),
        ("{scheduler: 8786, hosts: {a: {phones: [x]}}}", "write its address as tcp://lab:8786"),
        ("{share: all, hosts: {a: {phones: [x]}}}", "share is 'all'; write model"),
        ("{cells_per_lease: 0, hosts: {a: {phones: [x]}}}", "a whole number from 1"),
        ("{cells_per_lease: yes, hosts: {a: {phones: [x]}}}", "a whole number from 1"),
        ("hosts: 2026-99-99", "has an invalid value"),
        ("hosts: " + "[" * 2000, "nested too deeply"),
        ("hosts: 0x" + "f" * 5000, "line 1 is not YAML .a number of too many digits"),
        ("hosts:\n  ? " + "a b" * 2000 + "\n  : 1", "cannot be a host's name"),
        ("x: &x [1]\nhosts: *x", r"line 2 is not YAML .the alias '\*x' does not stand for a single value"),
        ("a0: &a0 [x, x]\na1: &a1 [*a0, *a0]\nhosts: *a1", "line 2 is not YAML .the alias"),
        ("hosts: &h {a: *h}", "line 1 is not YAML .the alias"),
        ("? {a: 1}\n: 1", "a name should be a single word"),
        ("hosts: !!set [a]", "is not YAML"),
        ("hosts: !!python/object:os.system {}", "is not YAML"),
        ("hosts: {a: {phones: [x], <<: 1}}", "is not YAML"),
    ],
)
def test_every_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence) as found:
        load(path)
    assert str(path) in str(found.value) and "\n" not in str(found.value) and len(str(found.value)) < 400


def test_a_value_may_stand_for_several(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("hosts:\n  a: {phones: [x], key: &k /lab/key}\n  b: {phones: [y], key: *k}\n")
    assert [host.key for host in load(path).hosts] == ["/lab/key", "/lab/key"]


def test_large_fleets_are_read_and_larger_files_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "hosts:\n" + "".join(f"  h{n}: {{phones: [10.0.{n // 250}.{n % 250}:5555]}}\n" for n in range(2000))
    )
    assert len(load(path).hosts) == 2000
    path.write_text("#" * (5 << 20))
    with pytest.raises(BadInput, match="has more than 4 MB"):
        load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no.yaml cannot be read \(No such file"):
        load(tmp_path / "no.yaml")


def test_without_the_extra_a_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BadInput, match=r"pip install 'adascale-tf\[fleet\]'"):
        load(tmp_path / "fleet.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
fleets = st.fixed_dictionaries(
    {"hosts": plain | st.dictionaries(st.just("a"), st.fixed_dictionaries({"phones": plain}, optional={"key": plain}))},
    optional={"scheduler": plain, "share": plain, "cells_per_lease": plain},
)


@given(plain | fleets)
def test_whatever_it_says_it_is_a_fleet_or_bad_input(data: Any) -> None:
    try:
        found = parse(data)
    except BadInput as error:
        assert str(error).endswith(".")
    else:
        assert found.hosts and all(host.phones for host in found.hosts)
