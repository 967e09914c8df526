"""``fleet.yaml``: the hosts, their phones, and how they share the work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from android_harness.adb import parse_address

#: What phones must have in common to do each other's work: the model, or nothing (each measures all cells).
SHARES = ("model", "none")
#: What is said where the extra is not installed.
EXTRA = "A fleet needs Dask and PyYAML; give pip install 'adascale-tf[fleet]'."
_KEYS = ("scheduler", "share", "cells_per_lease", "hosts")
_HOST_KEYS = ("phones", "key")
_SCHEMES = ("tcp", "tls", "ws", "wss")
#: The most bytes of a fleet.yaml, and characters of a number in it.
LARGEST, LONGEST_NUMBER = 4 << 20, 20


@dataclass(frozen=True)
class Host:
    """A computer that reaches phones. ``name``: of its Dask worker; ``phones``: addresses as its adb sees them;
    ``key``: the file there that phones know, None for adb's own."""

    name: str
    phones: tuple[str, ...]
    key: str | None = None


@dataclass(frozen=True)
class Inventory:
    """A fleet. ``scheduler``: the address of a Dask scheduler, None for a cluster on this machine; ``share``: one of
    :data:`SHARES`; ``cells_per_lease``: the most cells that a phone gets at once."""

    hosts: tuple[Host, ...]
    scheduler: str | None = None
    share: str = "model"
    cells_per_lease: int = 4
    source: str = field(default="fleet.yaml", compare=False)


def load(path: Path) -> Inventory:
    """Read a fleet; :class:`BadInput` says what is wrong, or that the extra ``fleet`` is not installed."""
    try:
        import yaml
    except ImportError:
        raise BadInput(EXTRA) from None
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{path} has more than {LARGEST >> 20} MB; a fleet of 10,000 phones needs less than one.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    try:
        data = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" line {mark.line + 1}"
        problem = excerpt(getattr(error, "problem", None) or str(error), 120)
        raise BadInput(f"{path}{where} is not YAML ({problem}); correct it there.") from None
    except RecursionError:
        raise BadInput(f"{path} is nested too deeply; write 'hosts: {{lab-a: {{phones: [...]}}}}'.") from None
    except Exception as error:  # PyYAML's constructors of single values raise whatever their parts do
        raise BadInput(f"{path} has an invalid value ({excerpt(str(error))}); put it in quotes.") from None
    return parse(data, str(path))


def _loader() -> Any:
    """YAML's safe loader, but what is written twice is a mistake and not a silent choice of the later, and what stands
    for more than it says (aliases of lists and mappings, endless numbers) is refused."""
    import yaml

    def wrong(problem: str, mark: Any) -> Exception:
        return yaml.constructor.ConstructorError(None, None, problem, mark)  # type: ignore[no-any-return]

    class Strict(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            alias = self.check_event(yaml.AliasEvent) and self.peek_event()
            if alias and not isinstance(self.anchors.get(alias.anchor), yaml.ScalarNode):
                raise wrong(f"the alias '*{excerpt(alias.anchor)}' does not stand for a single value", alias.start_mark)
            return super().compose_node(parent, index)

        def construct_scalar(self, node: Any) -> Any:
            if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
                raise wrong("a number of too many digits", node.start_mark)
            return super().construct_scalar(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if not isinstance(key_node, yaml.ScalarNode):
                    raise wrong("a name should be a single word", key_node.start_mark)
                key = self.construct_object(key_node, deep=True)
                if key in seen:
                    raise wrong(f"'{excerpt(key)}' appears twice", node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

    return Strict


def parse(data: Any, source: str = "fleet.yaml") -> Inventory:
    """The fleet in parsed YAML; ``source`` names it in sentences."""
    fields = _mapping(data, source, "a fleet with 'hosts:'", _KEYS)
    hosts = _mapping(fields.get("hosts"), f"{source}: hosts", "host names with their phones", None)
    if not hosts:
        raise BadInput(f"{source} names no host; write 'hosts: {{lab-a: {{phones: [192.168.1.20:5555]}}}}'.")
    share = fields.get("share", "model")
    if share not in SHARES:
        raise BadInput(f"{source}: share is {_shown(share)}; write model (phones of a model share the cells) or none.")
    return Inventory(
        tuple(_host(name, value, source) for name, value in hosts.items()), _scheduler(fields.get("scheduler"), source),
        share, _count(fields.get("cells_per_lease", 4), source), source,
    )  # fmt: skip


def _mapping(value: Any, where: str, wanted: str, known: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where} should be {wanted}, but is {_shown(value)}.")
    unknown = [key for key in value if known is not None and key not in known]
    if known is not None and unknown:
        raise BadInput(f"{where} has '{excerpt(unknown[0])}', which is not a known entry; use {', '.join(known)}.")
    return value


def _host(name: Any, value: Any, source: str) -> Host:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadInput(
            f"{source}: {_shown(name)} cannot be a host's name; use letters, digits, '.', '_' and '-', as lab-a."
        )
    where = f"{source}: {name}"
    fields = _mapping(value, where, "'phones: [...]'", _HOST_KEYS)
    phones = fields.get("phones")
    if not isinstance(phones, list) or not phones:
        raise BadInput(f"{where} has no phones; write 'phones: [192.168.1.20:5555]', or leave the host out.")
    addresses = []
    for text in phones:
        if not isinstance(text, str):  # YAML reads 12:30 as a number to the base of 60
            raise BadInput(f"{where}: {_shown(text)} is not a phone; write HOST:PORT, usb or usb:SERIAL in quotes.")
        try:
            address = str(parse_address(text))
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
        if address in addresses:
            raise BadInput(f"{where} has the phone {address} twice; name it once.")
        addresses.append(address)
    if "usb" in addresses and len([a for a in addresses if a.startswith("usb")]) > 1:
        raise BadInput(f"{where} has 'usb' beside other phones on cables; name each as usb:SERIAL.")
    key = fields.get("key")
    if key is not None and (not isinstance(key, str) or not key):
        raise BadInput(f"{where}: key is {_shown(key)}; name the file of the RSA key on that host, or leave it out.")
    return Host(name, tuple(addresses), key)


def _scheduler(value: Any, source: str) -> str | None:
    if value is None:
        return None
    scheme, separator, rest = str(value).partition("://")
    if not isinstance(value, str) or not separator or scheme not in _SCHEMES or not rest:
        raise BadInput(f"{source}: scheduler is {_shown(value)}; write its address as tcp://lab:8786.")
    return value


def _count(value: Any, source: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"{source}: cells_per_lease is {_shown(value)}; write a whole number from 1.")
    return value


def _shown(value: Any) -> str:
    return "empty" if value is None else f"'{excerpt(value)}'"
