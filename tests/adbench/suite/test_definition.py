"""Suite files: what they may say, and where a mistake in one is."""

from __future__ import annotations

import json
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adbench.cli import main
from adbench.errors import AdbenchError, ConfigError, UnknownNameError
from adbench.suite import definition
from adbench.suite.cells import Cell, plan
from adbench.suite.lines import MOST_LINES, line_of


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(textwrap.dedent(text))
    return path


def complaint(folder: Path, text: str) -> str:
    """What is said of a suite file, its folder left out."""
    path = write(folder, text)
    with pytest.raises(AdbenchError) as caught:
        plan(definition.load(path))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


LINES = """\
a = 1  # 1
# a comment

b = [
    "x",  # 5
    'y',
]
[[c]]  # 8
d = '''
e = 2
'''
f.g = 3  # 12
[[c]]
d = ""\
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("a",), 1),
        (("b",), 4),
        (("b", 0), 5),
        (("b", 1), 6),
        (("c",), 8),
        (("c", 0, "d"), 9),
        (("c", 0, "f", "g"), 12),
        (("c", 1), 13),
        (("c", 1, "d"), 14),
        (("e",), None),
        (("a", "x"), None),
        (("c", 0, "d", 0), None),
    ],
)
def test_a_place_is_found_on_its_line(place: tuple[Any, ...], line: int | None) -> None:
    assert line_of(LINES, place) == line


def test_the_first_place_that_is_there_counts() -> None:
    assert line_of(LINES, ("z",), ("c", 1, "z"), ("c", 1), ("a",)) == 13


def test_a_text_that_is_too_long_has_no_lines() -> None:
    text = "a = 1\n" + "\n" * MOST_LINES
    assert tomllib.loads(text) and line_of(text, ("a",)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            """\
            environments = ["bandit",
                "dark-rom"]
            """,
            "mine.toml:2: no environment named 'dark-rom'. Did you mean 'dark-room'",
        ),
        (
            """\
            [[environments]]
            name = "bandit"
            [[environments]]
            name = "watermase"
            """,
            "mine.toml:4: no environment named 'watermase'. Did you mean 'watermaze'",
        ),
        (
            """\
            environments = ["bandit"]
            methods = [
                "ad",
                "edd",
            ]
            """,
            "mine.toml:4: no method named 'edd'. Did you mean 'ed'",
        ),
        (
            """\
            environments = ["bandit"]
            seedz = [0]
            """,
            "mine.toml:2: no configuration field named 'seedz'. Did you mean 'seeds'?",
        ),
        (
            """\
            [[environments]]
            name = "bandit"
            preest = "smoke"
            """,
            "mine.toml:3: no configuration field named 'environments.0.preest'. "
            "Did you mean 'environments.0.preset'",
        ),
        (
            """\
            environments = ["bandit"]
            seeds = "many"
            """,
            "mine.toml:2: seeds: Input should be a valid tuple, got 'many'",
        ),
        (
            """\
            environments = ["bandit"]
            seeds = [0, true]
            """,
            "mine.toml:2: seeds: Input should be a number, not true or false",
        ),
        ("seeds = [0]", "mine.toml: environments: Field required"),
        (
            """\
            [[environments]]
            preset = "smoke"
            """,
            "mine.toml:1: environments.0.name: Field required",
        ),
        (
            """\
            preset = "smoke"
            environments = ["bandit", "dark-room"]
            [settings.train]
            updatess = 5
            """,
            "mine.toml:4: no configuration field named 'train.updatess'. Did you mean "
            "'train.updates'",
        ),
        (
            """\
            [[environments]]
            name = "bandit"
            preset = "smoke"
            [environments.settings]
            train = { updates = 0 }
            """,
            "mine.toml:5: train.updates: Input should be greater than or equal to 1, got 0",
        ),
        (
            """\
            [[environments]]
            name = "bandit"
            preset = "smok"
            """,
            "mine.toml:3: bandit: no preset of bandit named 'smok'. Did you mean 'smoke'",
        ),
        (
            """\
            environments = ["bandit"]
            settings.train = 5
            """,
            "mine.toml:2: settings.train: it is a table of settings; got 5",
        ),
        (
            """\
            environments = ["bandit"]
            settings.seeds = [1]
            """,
            "mine.toml:2: settings.seeds: in a suite it is said by `seeds`",
        ),
        (
            """\
            preset = "smoke"
            environments = ["bandit"]
            settings.source.settings.exploraton = 1.0
            """,
            "mine.toml:3: bandit: source.settings of ucb: no configuration field named "
            "'exploraton'",
        ),
        (
            """\
            preset = "smoke"
            [[environments]]
            name = "dark-room"
            methods = ["ad", "ad-blind"]
            """,
            "mine.toml:2: dark-room: methods: 'ad-blind' needs pixels",
        ),
        (
            """\
            environments = ["bandit", "bandit"]
            """,
            "two environments are called 'bandit'; give one of them a label",
        ),
        (
            """\
            [[environments]]
            name = "bandit"
            label = "../elsewhere"
            """,
            "mine.toml:1: environments.0: '../elsewhere' cannot name a folder",
        ),
        (
            """\
            preset = "smoke"
            environments = ["bandit"]
            context_steps = [40, 1]
            """,
            "mine.toml:3: context_steps.1: Input should be greater than or equal to 2, got 1",
        ),
        ("environments = [", "mine.toml: not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, 'environments = ["bandt"]\nmethods = ["adx"]\n')
    assert "mine.toml:1: no environment" in said and "mine.toml:2: no method" in said


def test_nothing_is_started_or_written_for_a_suite_with_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, 'environments = ["bandt"]\n')
    assert main(["suite", "run", str(path), "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Did you mean 'bandit'" in err and not (tmp_path / "out").exists()


def test_an_unknown_suite_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'quick'.*\.toml"):
        definition.find("quik")
    with pytest.raises(ConfigError, match=r"nowhere\.toml is no file"):
        definition.find("nowhere.toml")


def test_a_suite_is_the_product_of_its_lists(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        preset = "smoke"
        seeds = [3, 4]
        settings.train.updates = 7
        [[environments]]
        name = "bandit"
        [[environments]]
        name = "dark-room"
        label = "room"
        seeds = [0]
        context_steps = [40, 80]
        methods = ["ad", "random", "optimal"]
        settings.train.batch_sequences = 2
        """,
    )
    cells = plan(definition.load(path))
    assert [cell.parts for cell in cells] == [
        ("bandit", "seed-3"),
        ("bandit", "seed-4"),
        ("room", "context-40", "seed-0"),
        ("room", "context-80", "seed-0"),
    ]
    assert [cell.config.train.window_steps for cell in cells] == [40, 40, 40, 80]
    assert {cell.config.train.updates for cell in cells} == {7}
    room = cells[2].config
    assert room.env == "dark-room" and room.train.batch_sequences == 2 and room.seeds == (0,)
    assert room.methods == ("ad", "random", "optimal") and room.source.settings
    assert cells[2].name == "room, context 40, seed 0"


def test_a_preset_with_long_rows_gets_rows_that_fit_each_context_length(tmp_path: Path) -> None:
    text = """\
        preset = "smoke"
        environments = ["dark-room"]
        context_steps = [{steps}]
        settings.train.sequence_steps = 150
        """
    (cell,) = plan(definition.load(write(tmp_path, text.format(steps=60))), check=False)
    assert cell.config.train.row_steps == 150
    assert "mine.toml:4: train: sequence_steps" in complaint(tmp_path, text.format(steps=100))


def test_a_plug_in_can_be_in_a_suite(tmp_path: Path, publish: Any) -> None:
    publish(
        "some-worlds",
        "[adbench.envs]\nroom-of-mine = some_worlds:RoomOfMine\n",
        some_worlds="from adbench_envs.dark_room import DarkRoom\n"
        "class RoomOfMine(DarkRoom):\n    name = 'room-of-mine'\n",
    )
    text = 'preset = "smoke"\nenvironments = ["room-of-mine"]\n'
    (cell,) = plan(definition.load(write(tmp_path, text)), check=False)
    assert cell.config.env == "room-of-mine" and cell.parts == ("room-of-mine", "seed-0")


@pytest.fixture(scope="module")
def shipped() -> dict[str, tuple[Cell, ...]]:
    found = {name: definition.load(path) for name, path in definition.shipped().items()}
    return {name: plan(each, check=False) for name, each in found.items()}


def test_the_shipped_suites_are_those_that_were_promised(
    shipped: dict[str, tuple[Cell, ...]],
) -> None:
    worlds = {name: [cell.world for cell in cells] for name, cells in shipped.items()}
    assert set(worlds) >= {"smoke", "quick", "standard", "paper", "pixels3d"}
    assert sorted(worlds["quick"]) == ["bandit"] * 3 + ["dark-room"] * 3 + ["watermaze-small"]
    five = {"bandit", "dark-room", "dark-room-hard", "key-to-door", "watermaze-small"}
    assert sorted(worlds["standard"]) == sorted([*five] * 5)
    assert {cell.config.preset for cell in shipped["standard"]} == {"quick"}
    assert {cell.config.preset for cell in shipped["paper"]} == {"paper"}
    assert {cell.seed for cell in shipped["paper"]} == {0, 1, 2, 3, 4}
    assert len(set(worlds["pixels3d"])) == 6 and "watermaze-small" not in worlds["pixels3d"]
    assert all({"ad", "ed"} <= set(cell.config.methods) for cell in shipped["pixels3d"])


def test_the_rows_of_the_quick_suite_are_all_that_its_presets_have(
    shipped: dict[str, tuple[Cell, ...]],
) -> None:
    from adbench import plugins

    for cell in shipped["quick"]:
        assert cell.config.methods == plugins.preset(cell.config.env, "quick").methods


def test_list_names_every_shipped_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite", "list"]) == 0
    out, _ = capsys.readouterr()
    assert all(name in out for name in definition.shipped()) and "7 runs" in out
    assert main(["suite", "list", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)["suites"]}
    assert found["quick"]["runs"] == 7 and found["standard"]["runs"] == 25


@pytest.mark.parametrize("words", [["sho"], ["run"], ["run", "smoke", "--job", "2"], ["report"]])
def test_a_wrong_word_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite", *words]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verb", ["run", "list", "show", "report"])
def test_every_verb_of_suite_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite", verb, "--help"]) == 0
    assert f"usage: adbench suite {verb}" in capsys.readouterr().out
