"""What must be carried to a machine without a network: found, pinned, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks import needs, wheels
from benchmarks.needs import Known, Missing

Told = pytest.CaptureFixture[str]
KNOWN = {
    "worlds": Known("1.4", ("clouds>=1", "old; python_version < '3.11'", "gym; extra == 'more'")),
    "clouds": Known("3.1", ()),
    "gym": Known("0.2", ("worlds",)),
    "arrays": Known("2.0", ()),
}


def missing(*roots: str, have: needs.Have | None = None) -> dict[str, Missing]:
    found = needs.missing(roots, have or {}, KNOWN.get, python="3.12", needed_by="us")
    return {each.name: each for each in found}


def test_what_a_missing_package_needs_is_missing_too() -> None:
    found = missing("worlds>=1")
    assert list(found) == ["worlds", "clouds"]
    assert (found["worlds"].pinned, found["worlds"].needed_by) == ("worlds==1.4", "us")
    assert (found["clouds"].pinned, found["clouds"].needed_by) == ("clouds==3.1", "worlds")


def test_an_extra_brings_what_it_needs() -> None:
    assert list(missing("worlds[more]")) == ["worlds", "clouds", "gym"]


def test_what_is_there_is_not_looked_into_unless_it_is_too_old() -> None:
    assert missing("worlds>=1", have={"worlds": "1.2"}) == {}
    assert missing("worlds>=1", have={"worlds": None}) == {}
    found = missing("worlds>=1.3", have={"worlds": "1.2", "clouds": "1"})
    assert list(found) == ["worlds"] and found["worlds"].there == "1.2"


def test_what_nobody_here_knows_is_left_to_pip_and_said() -> None:
    found = missing("strange>=2")["strange"]
    assert (found.pinned, found.whole) == ("strange>=2", False)
    too_old_here = missing("arrays>=3")["arrays"]
    assert (too_old_here.pinned, too_old_here.whole) == ("arrays>=3", True)


def test_a_local_version_is_asked_for_without_what_no_index_has() -> None:
    assert Missing("torch", "2.13.0+cpu", "", "us", None, True).pinned == "torch==2.13.0"


def test_a_list_of_packages_is_read_and_a_wrong_one_refused() -> None:
    assert needs.listed("torch==2.11.0, Py_Yaml numba,") == {
        "torch": "2.11.0", "py-yaml": None, "numba": None
    }  # fmt: skip
    for wrong in ("torch>=2", "a b==", "-x"):
        with pytest.raises(ValueError, match="NAME==VERSION"):
            needs.listed(wrong)


def test_a_bare_machine_lacks_gymnasium_and_gets_one_line_for_pip(capsys: Told) -> None:
    have = "torch==2.11.0,triton==3.6.0,numba,numpy,pytest,pytest-benchmark"
    assert wheels.main(["--python", "3.12", "--have", have]) == 0
    told = capsys.readouterr().out
    (line,) = [line for line in told.splitlines() if line.startswith("pip download")]
    gymnasium = metadata.version("gymnasium")
    assert "--no-deps --only-binary=:all: --python-version 3.12" in line
    assert f" gymnasium=={gymnasium} " in line and " farama-notifications==" in line
    assert " torch" not in line and "llvmlite" not in line and "hdf5plugin" not in line
    assert f"gymnasium=={gymnasium} for algorithm-distillation-bench\n" in told
    assert wheels.main(["--have", have, "--extra", "zstd", "--without", "gymnasium"]) == 0
    told = capsys.readouterr().out
    assert "hdf5plugin==" in told and "gymnasium==" not in told


def test_where_nothing_is_missing_it_says_so(capsys: Told) -> None:
    assert wheels.main([]) == 0
    assert capsys.readouterr().out == "nothing is missing\n"


def test_a_torch_that_is_too_old_is_no_matter_of_wheels(capsys: Told) -> None:
    assert wheels.main(["--have", "torch==2.5.0"]) == 1
    told = capsys.readouterr()
    assert "torch 2.5.0 is too old" in told.err and "pip download" not in told.out


def test_where_a_package_is_unknown_it_prints_what_to_ask_elsewhere(
    capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "all_installed", lambda: {"torch": "2.11.0", "numba": None})
    monkeypatch.setattr(needs, "installed", lambda name: None)
    assert wheels.main(["--python", "3.12"]) == 0
    told = capsys.readouterr().out
    assert "what it needs itself is not known here" in told and "pip download" not in told
    assert "benchmarks.wheels --python 3.12 --have torch==2.11.0,numba\n" in told


@pytest.mark.parametrize(("megabytes", "code"), [(39, 0), (41, 1)])
def test_what_was_downloaded_is_weighed(
    megabytes: int, code: int, tmp_path: Path, capsys: Told
) -> None:
    def download(words: Sequence[str]) -> int:
        assert words[1:4] == ["-m", "pip", "download"]
        with (tmp_path / "a.whl").open("wb") as file:
            file.truncate(megabytes * 10**6)
        return 0

    asked = ["--have", "torch", "--download", str(tmp_path)]
    assert wheels.main(asked, download=download) == code
    assert f"1 wheels, {megabytes}.0 MB of at most 40" in capsys.readouterr().out
    assert wheels.main(asked, download=lambda words: 1) == 1


@pytest.mark.parametrize("asked", [["--extra", "dance"], ["--have", "torch>=2"]])
def test_a_wrong_question_is_refused(asked: list[str], capsys: Told) -> None:
    assert wheels.main(asked) == 2
    assert "benchmarks.wheels: " in capsys.readouterr().err


def test_the_metadata_goes_into_a_folder_and_a_path_is_printed(
    tmp_path: Path, capsys: Told
) -> None:
    assert wheels.main(["--register", str(tmp_path)]) == 0
    *packages, folder = capsys.readouterr().out.strip().split(":")
    assert folder == str(tmp_path) and len(packages) == 3
    assert list(tmp_path.glob("*.dist-info/entry_points.txt"))
