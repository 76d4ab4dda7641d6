"""Plug-ins come in by their entry points; a broken one is named and harms nobody else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench import cli, describe, plugins
from adbench.commands import list as list_command
from adbench.commands import plugins as plugins_command
from adbench.commands.crash import explain
from adbench.config import RunConfig
from adbench.errors import PluginError, UnknownNameError
from adbench.plugins import DISABLE, ENVS, OWN_DISTRIBUTION, PRESETS, SOURCES
from adbench.task import TaskFamily

Publish = Callable[..., None]

WORLD = '''
"""A module of worlds."""
import adbench
from adbench_envs.dark_room import DarkRoom

class Cave(DarkRoom):
    """A cave: dark, and somebody else's. It has a second sentence."""
    name = "cave"

def grotto():
    """A grotto, made by a function."""
    made = Cave()
    made.name = "grotto"
    return made

cavern = Cave()
cavern.name = "cavern"
number = 3

def nameless():
    made = Cave()
    made.name = ""
    return made
'''


@pytest.fixture
def caves(publish: Publish) -> None:
    publish(
        "cave-worlds",
        "[adbench.envs]\ncave = cave_worlds:Cave\ngrotto = cave_worlds:grotto\n"
        "cavern = cave_worlds:cavern\n",
        version="2.1",
        cave_worlds=WORLD,
    )


def test_importing_plugins_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'gymnasium', 'numpy', 'pydantic', 'rich'} & set(sys.modules)"
    code = f"import sys, adbench.plugins; adbench.plugins.scan('adbench.envs'); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_our_own_environments_come_in_by_the_same_door() -> None:
    entries = {entry.name: entry for entry in plugins.scan(ENVS) if entry.own}
    assert set(entries) >= {"bandit", "dark-room", "dark-room-hard", "key-to-door"}
    assert entries["dark-room"].value == "adbench_envs.dark_room:DarkRoom"
    assert entries["dark-room"].distribution == OWN_DISTRIBUTION
    assert entries["dark-room"].version not in ("", "unknown version")


@pytest.mark.usefixtures("caves")
def test_a_class_an_instance_and_a_function_all_give_a_family() -> None:
    for name in ("cave", "grotto", "cavern"):
        family = plugins.family(name)
        assert isinstance(family, TaskFamily)
        assert family.name == name


def test_a_family_without_a_name_takes_that_of_its_entry_point(publish: Publish) -> None:
    publish("caves", "[adbench.envs]\nno-name = cave_worlds:nameless\n", cave_worlds=WORLD)
    assert plugins.family("no-name").name == "no-name"


def test_listing_imports_nothing_of_a_plug_in(publish: Publish) -> None:
    publish("bomb", "[adbench.envs]\nbomb = bomb_world:World\n", bomb_world="raise SystemExit(7)")
    assert "bomb" in plugins.names(ENVS)
    assert "bomb_world" not in sys.modules


@pytest.mark.usefixtures("caves")
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("raise RuntimeError('no display')", "RuntimeError: no display"),
        ("raise SystemExit('needs a licence')", "SystemExit: needs a licence"),
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module_of_anybody", "No module named 'no_such_module_of_anybody'"),
        ("", "AttributeError"),
        ("def World(): raise ValueError('too dark')", "ValueError: too dark"),
        ("World = 3", "a int, not a TaskFamily"),
        ("def World(): return object", "the class object"),
    ],
)
def test_a_broken_plug_in_is_named_with_its_cause_and_the_others_go_on(
    publish: Publish, text: str, cause: str
) -> None:
    publish("bad-luck", "[adbench.envs]\nbad = bad_world:World\n", version="0.9", bad_world=text)
    with pytest.raises(PluginError) as caught:
        plugins.family("bad")
    said = str(caught.value)
    assert "the environment 'bad' of bad-luck 0.9 (bad_world:World) cannot be used" in said
    assert cause in said
    assert "pip uninstall bad-luck" in said and f"{DISABLE}=bad-luck" in said
    assert plugins.family("cave").name == "cave"
    assert plugins.family("dark-room").name == "dark-room"


def test_what_a_plug_in_prints_stays_out_of_our_data(
    publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = "\n".join(
        (WORLD, "print('hello')", "def loud():", "    print('again')", "    return Cave()")
    )
    publish("caves", f"[{ENVS}]\ncave = loud:loud\n", loud=loud)
    plugins.family("cave")
    out, err = capsys.readouterr()
    assert out == "" and err == "hello\nagain\n"


def test_the_place_of_the_fault_and_its_cause_are_kept(publish: Publish) -> None:
    text = "def World():\n    x = 1\n    raise ValueError('too dark')\n"
    publish("bad", "[adbench.envs]\nbad = bad_world:World\n", bad_world=text)
    with pytest.raises(PluginError, match=r"bad_world\.py:3") as caught:
        plugins.family("bad")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_missing_package_is_answered_with_how_to_install_it(publish: Publish) -> None:
    publish("bad", "[adbench.envs]\nbad = bad_world:World\n", bad_world="import no_such_engine.gpu")
    with pytest.raises(PluginError, match="pip install no_such_engine"):
        plugins.family("bad")


def test_an_entry_point_that_is_no_path_is_said(publish: Publish) -> None:
    publish("bad", "[adbench.envs]\nbad = not a path!\n")
    with pytest.raises(PluginError, match="does not read module:attribute"):
        plugins.family("bad")


def test_a_family_of_another_name_is_refused(publish: Publish) -> None:
    publish("caves", "[adbench.envs]\nhole = cave_worlds:Cave\n", cave_worlds=WORLD)
    with pytest.raises(PluginError, match="calls itself 'cave'; the two names must be equal"):
        plugins.family("hole")


@pytest.mark.usefixtures("caves")
def test_two_distributions_that_claim_one_name_are_both_named(publish: Publish) -> None:
    publish("other-caves", "[adbench.envs]\ncave = other_caves:Cave\n", where="b", other_caves="")
    claims = [entry for entry in plugins.scan(ENVS) if entry.name == "cave"]
    assert {entry.distribution for entry in claims} == {"cave-worlds", "other-caves"}
    assert all(entry.error for entry in claims)
    with pytest.raises(PluginError) as caught:
        plugins.family("cave")
    assert "cave-worlds 2.1" in str(caught.value) and "other-caves 1.0" in str(caught.value)
    assert plugins.family("grotto").name == "grotto"


@pytest.mark.usefixtures("caves")
def test_hiding_one_of_two_that_clash_mends_it(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("Other_Caves", "[adbench.envs]\ncave = other_caves:Cave\n", where="b", other_caves="")
    monkeypatch.setenv(DISABLE, "other.caves")
    assert plugins.family("cave").name == "cave"


def test_nobody_can_take_a_name_of_ours_unnoticed(publish: Publish) -> None:
    publish("thief", "[adbench.envs]\ndark-room = thief_world:World\n", thief_world="")
    with pytest.raises(PluginError) as caught:
        plugins.family("dark-room")
    assert OWN_DISTRIBUTION in str(caught.value) and "pip uninstall thief" in str(caught.value)


@pytest.mark.usefixtures("caves")
@pytest.mark.parametrize("metadata", ["dist-info", "egg-info"])
def test_a_stale_copy_of_the_same_distribution_is_no_clash(publish: Publish, metadata: str) -> None:
    points = "[adbench.envs]\ncave = cave_worlds:Cave\ngrotto = cave_worlds:grotto\n"
    publish("Cave.Worlds", points, version="2.2", where="b", metadata=metadata)
    entries = [entry for entry in plugins.scan(ENVS) if entry.name == "cave"]
    assert [(entry.version, entry.error) for entry in entries] == [("2.2", None)]


def test_a_name_said_twice_by_one_distribution_is_no_clash(publish: Publish) -> None:
    twice = "[adbench.envs]\ncave = cave_worlds:Cave\ncave = cave_worlds:Cave\n"
    publish("caves", twice, cave_worlds=WORLD)
    assert plugins.family("cave").name == "cave"


@pytest.mark.usefixtures("caves")
def test_garbled_entry_points_are_told_and_harm_nobody(publish: Publish) -> None:
    publish("garbled", "[adbench.envs]\nthis line has no equals sign\n", where="b")
    [entry] = [entry for entry in plugins.scan(ENVS) if entry.distribution == "garbled"]
    assert entry.error is not None and "damaged entry_points.txt" in entry.error
    assert plugins.family("cave").name == "cave"
    assert "cave" in plugins.names(ENVS) and entry.name not in plugins.names(ENVS)


@pytest.mark.usefixtures("caves")
def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'grotto'") as caught:
        plugins.family("groto")
    assert "'adbench.envs' entry-point group" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("caves")
@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("1", True),
        ("true", True),
        ("cave_worlds", True),
        ("x, CAVE.worlds", True),
        ("0", False),
        ("", False),
        ("no", False),
        ("somebody-else", False),
    ],
)
def test_other_packages_can_be_hidden_and_ours_stay(
    monkeypatch: pytest.MonkeyPatch, value: str, hidden: bool
) -> None:
    assert "cave" in plugins.names(ENVS)
    monkeypatch.setenv(DISABLE, value)  # read at use, so it works at once
    assert ("cave" not in plugins.names(ENVS)) == hidden
    assert "dark-room" in plugins.names(ENVS)


@pytest.mark.usefixtures("caves")
def test_an_unknown_name_reminds_of_what_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE, "1")
    with pytest.raises(UnknownNameError, match=f"{DISABLE} is set"):
        plugins.family("cave")


SOURCE = """
from adbench.config import Config
from adbench.source.base import Source

class Guess(Source):
    name = "guess"
    Settings = Config

class Unnamed(Source):
    Settings = Config

class Unset(Source):
    name = "unset"
"""


def test_a_source_is_a_subclass_of_its_own_name(publish: Publish) -> None:
    points = "\n".join(
        (
            "[adbench.sources]",
            "guess = guesses:Guess",
            "unnamed = guesses:Unnamed",
            "unset = guesses:Unset",
            "config = guesses:Config",
        )
    )
    publish("guesses", points, guesses=SOURCE)
    assert plugins.source("guess").__name__ == "Guess"
    for name, cause in (
        ("unnamed", "calls itself None"),
        ("unset", "no Settings"),
        ("config", "the class Config, not a subclass"),
    ):
        with pytest.raises(PluginError, match=cause):
            plugins.source(name)
    with pytest.raises(UnknownNameError, match=r"no source named 'gues'\. Did you mean 'guess'"):
        plugins.source("gues")


PRESET = """
from adbench.config import RunConfig

def good(): return RunConfig(env="cave", seeds=(4,))
def other(): return RunConfig(env="dark-room")
def nothing(): return None
def broken(): raise KeyError("gone")
constant = RunConfig(env="cave", seeds=(5,))
"""


@pytest.fixture
def presets(publish: Publish, caves: None) -> None:
    points = "[adbench.presets]\n" + "\n".join(
        f"cave.{name} = cave_presets:{name}"
        for name in ("good", "other", "nothing", "broken", "constant")
    )
    publish("cave-presets", points + "\nloose = cave_presets:good\n", cave_presets=PRESET)


@pytest.mark.usefixtures("presets")
def test_a_registered_preset_is_found_beside_the_generic_ones() -> None:
    config = plugins.preset("cave", "good")
    assert isinstance(config, RunConfig)
    assert (config.env, config.seeds, config.preset) == ("cave", (4,), "good")
    assert plugins.preset("cave", "constant").seeds == (5,)
    assert plugins.preset_names("cave")[:3] == ("smoke", "quick", "paper")
    assert {"good", "broken"} <= set(plugins.preset_names("cave"))
    assert plugins.preset("cave", "smoke").env == "cave"


@pytest.mark.usefixtures("presets")
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("other", "its RunConfig is for the environment 'dark-room'"),
        ("nothing", "a NoneType, not a RunConfig"),
        ("broken", "KeyError: 'gone'"),
    ],
)
def test_a_broken_preset_is_named_with_its_cause(name: str, cause: str) -> None:
    with pytest.raises(PluginError, match=cause) as caught:
        plugins.preset("cave", name)
    assert f"the preset 'cave.{name}' of cave-presets 1.0" in str(caught.value)


def test_another_package_cannot_change_what_quick_means(publish: Publish) -> None:
    text = "from adbench.config import RunConfig\ndef mine(): return RunConfig(env='dark-room')\n"
    points = "[adbench.presets]\ndark-room.smoke = theirs:mine\ndark-room.mine = theirs:mine\n"
    publish("theirs", points, theirs=text)
    with pytest.raises(PluginError, match="only that package may change what 'smoke' means"):
        plugins.preset("dark-room", "smoke")
    assert plugins.preset("dark-room", "mine").preset == "mine"


@pytest.mark.usefixtures("presets")
def test_unknown_presets_and_presets_of_unknown_environments_are_told_apart() -> None:
    with pytest.raises(UnknownNameError, match=r"no preset of cave named 'goood'.*'good'"):
        plugins.preset("cave", "goood")
    with pytest.raises(UnknownNameError, match=r"no environment named 'cvae'.*'cave'"):
        plugins.preset("cvae", "goood")
    with pytest.raises(PluginError, match=r"ENV\.PRESET"):
        plugins.registered_preset("loose")


@pytest.mark.usefixtures("presets")
def test_the_list_shows_names_descriptions_and_where_they_are_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list_command.main([]) == 0
    out = capsys.readouterr().out
    assert "cave-worlds 2.1" in out and f"{OWN_DISTRIBUTION} " in out
    assert "A cave: dark, and somebody else's." in out and "second sentence" not in out
    assert "A grotto, made by a function." in out
    assert "A module of worlds." in out


@pytest.mark.usefixtures("caves")
def test_the_list_says_which_plug_ins_are_broken(
    publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish("bad", "[adbench.envs]\nbad = bad_world:World\n", where="b", bad_world="1 / 0")
    assert list_command.main(["envs"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"bad +BROKEN", captured.out)
    assert "sources" not in captured.out
    assert "1 broken" in captured.err


@pytest.mark.usefixtures("caves")
def test_the_list_speaks_json(publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    publish("bad", "[adbench.envs]\nbad = bad_world:World\n", where="b", bad_world="1 / 0")
    assert list_command.main(["--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == {"envs", "sources", "presets", "loggers"}
    by_name = {row["name"]: row for row in listed["envs"]}
    assert by_name["cave"]["distribution"] == "cave-worlds"
    assert by_name["cave"]["version"] == "2.1"
    assert by_name["cave"]["error"] is None
    assert by_name["cave"]["presets"] == ["smoke", "quick", "paper"]
    assert "ZeroDivisionError" in by_name["bad"]["error"]


def test_the_list_of_our_own_needs_no_torch() -> None:
    code = (
        "import sys; from adbench.commands.list import main; main([]); "
        "print({'torch', 'gymnasium'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", DISABLE: "1"},
    )
    assert "dark-room" in done.stdout
    assert done.stderr.strip() == "set()"


@pytest.mark.usefixtures("caves")
def test_plugins_are_all_well_or_the_exit_code_is_1(
    publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plugins_command.main([]) == 0
    assert "ok      envs     cave " in capsys.readouterr().out
    publish("bad", "[adbench.envs]\nbad = bad_world:World\n", where="b", bad_world="1 / 0")
    assert plugins_command.main([]) == 1
    captured = capsys.readouterr()
    assert "BROKEN  envs     bad  bad_world:World" in captured.out
    assert "ZeroDivisionError" in captured.out and "pip uninstall bad" in captured.out
    assert "ok      envs     cave " in captured.out
    assert "1 broken" in captured.err


def test_plugins_speak_json_and_tell_clashes(
    publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish("one", "[adbench.sources]\nsame = one_source:S\n", where="a")
    publish("two", "[adbench.sources]\nsame = two_source:S\n", where="b")
    assert plugins_command.main(["--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    clashing = [row for row in rows if row["name"] == "same"]
    assert [row["distribution"] for row in clashing] == ["one", "two"]
    assert all("one 1.0" in row["error"] and "two 1.0" in row["error"] for row in clashing)
    assert all(row["error"] is None for row in rows if row["distribution"] == OWN_DISTRIBUTION)


def test_what_every_registered_name_points_to_can_be_loaded() -> None:
    for group, resolve in (
        (ENVS, plugins.family),
        (SOURCES, plugins.source),
        (PRESETS, plugins.registered_preset),
    ):
        for entry in plugins.scan(group):
            if entry.own:
                resolve(entry.name)


def test_a_description_is_read_without_importing(tmp_path: Path, publish: Publish) -> None:
    text = (
        '"""The module."""\nclass A:\n    """The class. More."""\nclass B: pass\nraise ValueError\n'
    )
    publish("words", "", words_module=text)
    assert describe.one_line("words_module:A") == "The class."
    assert describe.one_line("words_module:B") == "The module."
    assert describe.one_line("words_module:C") == "The module."
    assert describe.one_line("no_such_module:C") == ""
    assert describe.one_line("") == ""
    assert "words_module" not in sys.modules
    assert str(tmp_path) in str(describe.source_file("words_module"))


FAULTY = """
import torch
from adbench_envs.dark_room import DarkRoom, DarkRoomBatch

class Tall(DarkRoomBatch):
    def step(self, actions):
        observation, reward, *rest = super().step(actions)
        return observation, reward[:, None], *rest

class Silent(DarkRoomBatch):
    def step(self, actions):
        return (*super().step(actions)[:4], {})

class Flat(DarkRoomBatch):
    def step(self, actions):
        observation, *rest = super().step(actions)
        return observation[:, :1], *rest

class Raising(DarkRoomBatch):
    def step(self, actions):
        return torch.zeros(2) + torch.zeros(3)

def family(batch):
    class Faulty(DarkRoom):
        name = f"faulty-{batch.__name__.lower()}"
        def make(self, tasks, *, seed, lane_ids=None, device="cpu", observe="agent"):
            return batch(self, tasks, seed=seed, lane_ids=lane_ids, device=device)
    return Faulty

tall, silent, flat, raising = map(family, (Tall, Silent, Flat, Raising))
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tall", r"the reward is float32 \[\d+, 1\], not float32 \[\d+\]"),
        ("silent", "info lacks 'final_obs' and '_final_obs' and 'final_state'"),
        ("flat", r"the observation has the shape \[N, 1\], not \[N, 2\]"),
        (
            "raising",
            "an error in faulty-worlds 0.3, not of yours: RuntimeError: The size of tensor",
        ),
    ],
)
def test_a_world_that_goes_wrong_in_a_run_is_said_with_its_distribution(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    points = f"[adbench.envs]\nfaulty-{name} = faulty_worlds:{name}\n"
    publish("faulty-worlds", points, version="0.3", faulty_worlds=FAULTY)
    asked = ("collect", f"faulty-{name}", "--preset", "smoke", "--out", str(tmp_path / "run"))
    assert cli.main(asked) == 1
    said = capsys.readouterr().err
    assert re.search(words, said), said
    assert "ell the authors of faulty-worlds" in said


def test_an_error_of_ours_is_blamed_on_nobody_else(publish: Publish) -> None:
    publish("faulty-worlds", "[adbench.envs]\nf = faulty_worlds:tall\n", faulty_worlds=FAULTY)
    try:
        plugins.family("no-such-world")
    except UnknownNameError as error:
        assert plugins.blame(error) is None


@pytest.mark.usefixtures("caves")
@pytest.mark.parametrize("verb", ["run", "train"])
def test_a_fault_in_a_run_of_anothers_world_names_the_check_of_that_world(
    verb: str, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('env = "cave"\n')
    words = ("run", "cave", "--out", str(tmp_path)) if verb == "run" else (verb, str(tmp_path))
    said = explain(RuntimeError("shape '[4]' is invalid"), words)
    assert "'cave' of cave-worlds 2.1 breaks the contract: `adbench check-env cave` tells" in said
    (tmp_path / "config.toml").write_text('env = "dark-room"\n')
    assert "check-env" not in explain(RuntimeError("x"), ("train", str(tmp_path)))


@pytest.mark.usefixtures("caves")
def test_credit_is_given_where_it_is_clear(publish: Publish) -> None:
    assert plugins.credit("cave") == "cave-worlds 2.1"
    assert plugins.credit("nobody") == ""
    publish("thief", "[adbench.envs]\ncave = thief_world:World\n", where="b")
    assert plugins.credit("cave") == ""
