"""What docs/worlds.md says of the first-person families is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.parity import BOUNDS, Difference
from documented.pages import ROOT, programs

PAGE = "docs/worlds.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
FIGURES = ROOT / "docs" / "figures"
MOST_BYTES = 200_000
"""Of a picture."""

FAMILIES = {
    family.name: family
    for family in (
        Watermaze,
        WatermazeSmall,
        WatermazeHard,
        DarkRoom3D,
        KeyToDoor3D,
        RadialArm,
        FourBoxes,
    )
}


def rows(heading: str) -> dict[str, dict[str, str]]:
    """A table of the page: its rows by family, each by column."""
    lines = TEXT[TEXT.index(heading) :].splitlines()
    columns = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0].strip("`")] = dict(zip(columns, cells, strict=True))
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_of_families_says_what_they_are(name: str) -> None:
    family: Any = FAMILIES[name]()
    row = rows("| family | ground")[name]
    reach = float(re.findall(r"[\d.]+(?= m| x)", row["ground"])[0])
    if "hall" in row["ground"]:
        reach /= 2.0
    body = 0.2 if name == "radial-arm" else 0.0
    assert reach == pytest.approx(family.reach_metres - body, abs=0.005)
    assert row["step"] == f"{family.step_metres:g} m"
    assert row["turn"] == f"{360 / family.num_headings:g}°"
    assert int(row["steps"]) == family.max_episode_steps
    starts = family.make(family.tasks("test", 8, seed=0), seed=0, observe="state").state()["pose"]
    assert (row["start"] == "middle") == (not starts[:, :2].any())
    radius = getattr(family, "platform_radius", getattr(family, "spot_radius", None))
    if radius is not None:
        assert f"radius {radius:g} m" in row["what pays"]
    tasks = family.tasks("test", None, seed=0)
    assert float(row["random"]) == pytest.approx(
        float(family.random_return(tasks).mean()), abs=0.006
    )
    assert float(row["best"]) == pytest.approx(float(family.optimal_return(tasks).mean()), abs=0.06)


def test_the_tables_leave_no_family_out() -> None:
    assert set(rows("| family | ground")) == set(FAMILIES)
    assert set(rows("| family (200 poses")) == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_picture_of_modest_size(name: str) -> None:
    picture = FIGURES / f"{name}.png"
    assert f"(figures/{name}.png)" in TEXT
    assert picture.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", FAMILIES)
def test_the_figures_of_parity_are_within_the_bounds(name: str) -> None:
    one, four = list(rows("| family (200 poses")[name].values())[1:]
    for samples, cell in ((1, one), (4, four)):
        error, share = re.fullmatch(r"([\d.]+), ([\d.]+) %", cell).groups()  # type: ignore[union-attr]
        assert Difference(float(error), float(share) / 100).within(BOUNDS[samples])


def test_the_programs_on_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    ours = [code for code in programs(PAGE) if "iniWorld" not in code and "miniworld" not in code]
    assert len(ours) == 3
    for code in ours:
        exec(compile(code, PAGE, "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([256, 32, 32, 3]) torch.uint8" in printed
    assert "(64, 64, 3) (16, 32, 32, 3)" in printed
    assert "torch.Size([1, 48, 64, 3])" in printed


@pytest.mark.requires("gl")
def test_the_programs_on_the_page_that_need_opengl_run(tmp_path: Path) -> None:
    theirs = [code for code in programs(PAGE) if "iniWorld" in code or "miniworld" in code]
    assert len(theirs) == 2
    for number, code in enumerate(theirs):
        script = tmp_path / f"{number}.py"
        script.write_text(code + "print(frames.shape)\n" if number == 0 else code)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_pictures_are_those_that_the_page_s_script_draws() -> None:
    script = FIGURES / "worlds.py"
    names: dict[str, Any] = {"__name__": "worlds"}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
    image = names["sheet"](FourBoxes(height=names["FRAME"], width=names["FRAME"], samples=4))
    drawn = cv2.imread(str(script.with_name("four-boxes.png")))
    assert drawn is not None and drawn.shape == image.shape
    # Roundings differ between processors, pictures do not.
    off = abs(drawn[..., ::-1].astype(int) - image)
    assert float(off.mean()) < 0.5
