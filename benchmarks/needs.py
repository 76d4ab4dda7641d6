"""What of a project's requirements a machine lacks, those of its requirements included."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

Have = Mapping[str, str | None]
"""Packages that are there, by canonical name; none: of whatever version."""


@dataclass(frozen=True)
class Known:
    """What is known of a package.

    Attributes:
        version: that is installed where this is asked.
        requires: its requirements, as its metadata has them.
    """

    version: str
    requires: tuple[str, ...]


Look = Callable[[str], Known | None]
"""What is known of a package of that name; none: nothing."""


@dataclass(frozen=True)
class Missing:
    """A package that has to be brought.

    Attributes:
        name: canonical.
        version: that is known to work; none: pip may choose one that `specifier` allows.
        specifier: versions that will do.
        needed_by: who asks for it.
        there: the version that is there and will not do; none: there is none.
        whole: whether its own requirements are known, and so in the list.
    """

    name: str
    version: str | None
    specifier: str
    needed_by: str
    there: str | None
    whole: bool

    @property
    def pinned(self) -> str:
        """As pip takes it; an index has no local versions such as 2.13.0+cpu."""
        if self.version is None:
            return f"{self.name}{self.specifier}"
        return f"{self.name}=={self.version.partition('+')[0]}"


def missing(
    roots: Iterable[str], have: Have, look: Look, *, python: str, needed_by: str
) -> list[Missing]:
    """What a Linux machine on x86-64 lacks, in the order in which it is asked for.

    What is there and new enough is not looked into: who brought it brought what it needs.

    Args:
        roots: requirements, as pyproject.toml has them.
        have: what is there.
        look: what is known of a package.
        python: of the machine: "3.12".
        needed_by: whose requirements `roots` are.
    """
    environment = _environment(python)
    found: dict[str, Missing] = {}
    waiting = [(Requirement(root), needed_by, "") for root in roots]
    looked_into: set[tuple[str, str]] = set()
    while waiting:
        requirement, by, extra = waiting.pop(0)
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        there = have.get(name)
        if name in have and _allows(requirement.specifier, there):
            continue
        known = look(name)
        usable = known is not None and _allows(requirement.specifier, known.version)
        if name not in found:
            found[name] = Missing(
                name, known.version if known and usable else None, str(requirement.specifier), by,
                there, known is not None,
            )  # fmt: skip
        for asked in ("", *sorted(requirement.extras)):
            if known is not None and (name, asked) not in looked_into:
                looked_into.add((name, asked))
                waiting += [(need, name, asked) for need in map(Requirement, known.requires)]
    return list(found.values())


def installed(name: str) -> Known | None:
    """What Python here knows of a package."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return Known(found.version, tuple(found.requires or ()))


def all_installed() -> dict[str, str | None]:
    """Every package that is installed here."""
    found = ((dist.name, dist.version) for dist in metadata.distributions())
    return {canonicalize_name(name): version for name, version in found if name}


def listed(text: str) -> dict[str, str | None]:
    """Packages as a person lists them: "torch==2.11.0,numba".

    Raises:
        ValueError: a part is no name, nor NAME==VERSION.
    """
    found: dict[str, str | None] = {}
    for part in filter(None, re.split(r"[,\s]+", text)):
        name, _, version = part.partition("==")
        try:
            Requirement(part)
        except InvalidRequirement:
            name = ""
        if not name or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ValueError(f"got {part!r}, wants NAME or NAME==VERSION, separated by commas")
        found[canonicalize_name(name)] = version or None
    return found


def _allows(specifier: SpecifierSet, version: str | None) -> bool:
    return version is None or specifier.contains(version, prereleases=True)


def _environment(python: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython", "implementation_version": f"{python}.0",
        "os_name": "posix", "platform_machine": "x86_64", "platform_release": "",
        "platform_system": "Linux", "platform_version": "",
        "platform_python_implementation": "CPython", "python_full_version": f"{python}.0",
        "python_version": python, "sys_platform": "linux",
    }  # fmt: skip
