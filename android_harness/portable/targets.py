"""The kinds of phones that a portable Python is built for."""

from __future__ import annotations

from dataclasses import dataclass

from adascale_runtime.errors import BadInput


@dataclass(frozen=True)
class Target:
    """A processor, under the names that it has in different places."""

    #: As Android names it.
    abi: str
    #: As Debian's packages name it, and their folders of libraries.
    debian: str
    triple: str
    #: As ELF files and LiteRT's wheels name it.
    machine: str
    #: The name of glibc's loader.
    loader: str
    #: The package of the wheel, and the wheel's own name.
    module: str
    distribution: str

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags under which LiteRT's wheels for Linux are published."""
        return tuple(f"manylinux{tag}_{self.machine}" for tag in ("2014", "_2_27", "_2_28"))


TARGETS = {
    target.abi: target
    for target in (
        Target(
            "arm64-v8a", "arm64", "aarch64-linux-gnu", "aarch64", "ld-linux-aarch64.so.1", "adascale_phone_arm64",
            "adascale-phone-arm64",
        ),
        Target(
            "x86_64", "amd64", "x86_64-linux-gnu", "x86_64", "ld-linux-x86-64.so.2", "adascale_phone_x86_64",
            "adascale-phone-x86_64",
        ),
    )
}  # fmt: skip


def target_of(abi: str) -> Target:
    """The target of an ABI; :class:`BadInput` names those that there are."""
    if abi not in TARGETS:
        raise BadInput(f"There is no portable Python for {abi}; choose among {', '.join(TARGETS)}.")
    return TARGETS[abi]
