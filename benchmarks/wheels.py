"""What has to be carried to a machine without a network, so that the source tree works there.

    python -m benchmarks.wheels                       what is missing here, and what is not
    python -m benchmarks.wheels --have torch==2.11.0,triton==3.6.0,numba --download wheels
                                                      asked on a machine that has everything
    python -m benchmarks.wheels --register site       lets an uninstalled source tree be found

On the machine itself nothing is known of packages that are not there, nor of what they need in
turn; so it prints what it has, to be given to --have on a machine where the project is installed.
There the list is whole: the project's requirements and theirs, at the versions that are installed.
Exit codes: 0 done, 1 something there is too old or it is more than can be carried, 2 the question
was wrong.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks import needs
from benchmarks.on_gpu import source_tree

MOST_BYTES = 40 * 10**6
"""What may have to be carried."""
KEPT = ("torch", "triton", "numpy")
"""Packages that are never replaced there: others were built against them."""
PLATFORMS = (
    *(f"manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 24, 17, 12, 5)),
    "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64",
)  # fmt: skip
"""pip matches a wheel's tags exactly."""
DONE, WRONG, ASKED_WRONGLY = 0, 1, 2

Download = Callable[[Sequence[str]], int]


def main(arguments: Sequence[str] | None = None, *, download: Download = subprocess.call) -> int:
    """Carry out a command line; returns the exit code.

    Args:
        arguments: what follows the program's name; none: `sys.argv`.
        download: runs pip.
    """
    asked = _parser().parse_args(arguments)
    if asked.register:
        source_tree.write(asked.register)
        print(":".join(str(folder) for folder in (*source_tree.PACKAGES, asked.register.resolve())))
        return DONE
    try:
        here = asked.have is None
        have = needs.all_installed() if here else needs.listed(asked.have)
        without = needs.listed(",".join(asked.without))
        roots = requirements(asked.extra)
    except ValueError as error:
        print(f"benchmarks.wheels: {error}", file=sys.stderr)
        return ASKED_WRONGLY
    project = source_tree.project()["name"]
    lacks = needs.missing(
        roots, {**have, **without}, needs.installed, python=asked.python, needed_by=project
    )
    if not lacks:
        print("nothing is missing")
        return DONE
    for each in lacks:
        instead = f", instead of {each.there}" if each.there else ""
        rest = "" if each.whole else "; what it needs itself is not known here"
        print(f"{each.pinned} for {each.needed_by}{instead}{rest}")
    kept = [each for each in lacks if each.there and each.name in KEPT]
    for each in kept:
        print(f"{each.name} {each.there} is too old or too new there: {each.needed_by} wants "
              f"{each.specifier}", file=sys.stderr)  # fmt: skip
    if kept:
        return WRONG
    if not all(each.whole for each in lacks):
        return _elsewhere(have, asked.python)
    return _carry(lacks, asked.python, asked.download, download)


def requirements(extras: Sequence[str]) -> list[str]:
    """The project's own, and those of some of its extras.

    Raises:
        ValueError: it has no such extra.
    """
    about = source_tree.project()
    found = list(about["dependencies"])
    known = about["optional-dependencies"]
    for extra in extras:
        if extra not in known:
            raise ValueError(f"--extra: no extra named {extra!r}; known: {', '.join(known)}")
        found += known[extra]
    return [need for need in found if Requirement(need).name != about["name"]]


def _elsewhere(have: needs.Have, python: str) -> int:
    there = ",".join(f"{name}=={version}" if version else name for name, version in have.items())
    print("\nThe whole list, on a machine where the project is installed:\n", file=sys.stderr)
    print(f"python -m benchmarks.wheels --python {python} --have {there}")
    return DONE


def _carry(
    lacks: Sequence[needs.Missing], python: str, folder: Path | None, download: Download
) -> int:
    words = [
        "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version",
        python, "--implementation", "cp", *(f"--platform={name}" for name in PLATFORMS),
        "--dest", str(folder or "wheels"), *(each.pinned for each in lacks),
    ]  # fmt: skip
    print(f"\n{shlex.join(words)}")
    print("\nThere, in the source tree, with the wheels in wheels/:\n", file=sys.stderr)
    print("pip install --no-index --no-deps --target site wheels/*.whl")
    print("export PYTHONPATH=$(python -m benchmarks.wheels --register site)")
    if folder is None:
        return DONE
    if download([sys.executable, "-m", *words]):
        return WRONG
    wheels = sorted(folder.glob("*.whl"), key=lambda file: -file.stat().st_size)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:8.1f} MB  {wheel.name}", file=sys.stderr)
    total = sum(wheel.stat().st_size for wheel in wheels)
    print(f"\n{len(wheels)} wheels, {total / 1e6:.1f} MB of at most {MOST_BYTES / 1e6:g}")
    return WRONG if total > MOST_BYTES else DONE


def _version(text: str) -> str:
    if not re.fullmatch(r"3\.\d+", text):
        raise argparse.ArgumentTypeError(f"got {text!r}, wants a version such as 3.12")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.wheels", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    parser.add_argument("--have", help="what is there: NAME or NAME==VERSION, by commas")
    parser.add_argument("--python", type=_version, default=here, help=f"its version; {here}")
    parser.add_argument("--extra", action="append", default=[], help="with an extra's requirements")
    parser.add_argument(
        "--without", action="append", default=[], metavar="NAME",
        help="leave this out; opencv-python-headless, the largest, draws pictures of worlds alone",
    )  # fmt: skip
    parser.add_argument("--download", type=Path, metavar="FOLDER", help="get the wheels, and weigh")
    parser.add_argument("--register", type=Path, metavar="FOLDER", help="write the metadata there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
