"""The command line: what it teaches, what it refuses and how, and what its endings are."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from adbench import pipeline
from adbench.cli import VERBS, main
from adbench.config import RunConfig
from adbench.errors import Stopped
from adbench.folder import RunFolder
from adbench.progress import Reporter, Stop

Told = pytest.CaptureFixture[str]

LIGHT = """
import sys
from adbench.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "tyro", "pydantic", "numpy", "gymnasium", "rich", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def in_own_process(*arguments: str, code: str = LIGHT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def refused(told: Told, *arguments: str, code: int = 2) -> str:
    """The error that is said on stderr; stdout stays empty and no traceback is shown."""
    assert main(arguments) == code
    out, err = told.readouterr()
    assert out == "" and "Traceback" not in err
    # What was about to run may have been said before.
    return err[err.index("adbench: ") :]


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("help",), ("--version",)])
def test_help_loads_nothing_heavy_and_goes_to_stdout(arguments: tuple[str, ...]) -> None:
    done = in_own_process(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "adbench" in done.stdout


def test_a_wrong_verb_is_answered_without_loading_anything_heavy() -> None:
    done = in_own_process("rnu")
    assert done.returncode == 2 and "Did you mean 'run'" in done.stderr


def test_help_names_every_verb_with_a_line_and_shows_how_to_begin(capsys: Told) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb, what in VERBS.items():
        assert f"  {verb}" in shown and what in shown
    assert "adbench run dark-room --out runs/first" in shown and "docs/" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_no_verb_at_all_shows_the_help_as_a_mistake(capsys: Told) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "usage: adbench VERB" in err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: Told) -> None:
    assert main([verb, "--help"]) == 0
    out, _ = capsys.readouterr()
    assert f"usage: adbench {verb}" in out and len(out.splitlines()) > 5
    assert main(["help", verb]) == 0
    assert capsys.readouterr().out == out


def test_help_of_run_shows_every_setting_with_its_meaning_and_the_presets_value(
    capsys: Told,
) -> None:
    assert main(["run", "dark-room", "--preset", "smoke", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--train.window-steps INT Transition tokens a query can see" in shown
    assert "--evaluate.lanes-per-task INT" in shown and "preset 'smoke'" in shown
    for group, record in RunConfig.model_fields.items():
        fields = getattr(record.annotation, "model_fields", None)
        for name in fields or ():
            assert f"--{group}.{name.replace('_', '-')}" in shown
    assert "--env " not in shown


def test_a_family_that_is_unknown_still_gets_the_general_help(capsys: Told) -> None:
    assert main(["run", "dark-rom", "--help"]) == 0
    assert "before any preset (no environment named 'dark-rom'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run dark-rom --out OUT", "Did you mean 'dark-room'"),
        ("run dark-room --preset smok --out OUT", "Did you mean 'smoke'"),
        ("run dark-room --preset= --out OUT", "no preset of dark-room named ''"),
        ("run dark-room --out OUT --train.windw-steps 4", "Did you mean --train.window-steps"),
        ("run dark-room --out OUT --window-steps 4", "Did you mean --train.window-steps?"),
        ("run dark-room --out OUT --jsn", "Did you mean --json?"),
        ("run dark-room --out OUT --source.name q-lamda", "Did you mean 'q-lambda'"),
        ("run dark-room --out OUT --source.settings.discunt 1", "source.settings of q-lambda: no"),
        ("run dark-room --out OUT --methods ad,adl", "no method named 'adl'"),
        ("run dark-room --out OUT --methods ad,ad-blind", "'ad-blind' needs pixels"),
        ("run dark-room --out OUT --methods random", "are computed, not played"),
        ("run dark-room --out OUT --collect.expert-episodes 0", "'ed' .*expert_episodes is 0"),
        ("run dark-room --out OUT --source.name ucb", "'ucb' is for bandits.*q-lambda"),
        ("run dark-room --out OUT --train.updates 0", "train.updates: .*equal to 1, got 0"),
        ("run dark-room --out OUT --train.updates many", "train.updates: .*integer.*got 'many'"),
        ("run dark-room --out OUT --train.updates", "--train.updates wants a value"),
        ("run dark-room --out OUT --train.updates --json", "--train.updates wants a value"),
        ("run dark-room --out OUT --train.no-compile=1", "--train.no-compile takes no value"),
        ("run dark-room --out OUT --train 5", "--train is a group of settings"),
        ("run dark-room --out OUT --train.token-mask 1.0", "less than 1, got 1.0"),
        ("run dark-room --out OUT --train.precision half", "'float32' or 'bfloat16', got 'half'"),
        ("run dark-room --out OUT --train.learning-rate nan", "finite number, got"),
        ("run dark-room --out OUT --model.width 63", "multiple of 2 \\* heads; it is 63"),
        ("run dark-room --out OUT --seeds 0,0", "seeds repeat"),
        ("run dark-room --out OUT --seeds 0 1", "unexpected argument '1'"),
        ("run dark-room --out OUT --seeds -1", "seeds.0: .*equal to 0, got -1"),
        ("run dark-room --out OUT --tasks.test 1000", "1000 test .* were asked for"),
        ("run dark-room --out OUT --device tpu", "device: .*'cpu' or 'cuda', got 'tpu'"),
        ("run dark-room --out OUT --stop-after soon", "got 'soon', wants minutes above 0"),
        ("run dark-room --out OUT --stop-after 0", "got '0', wants minutes above 0"),
        ("run dark-room --out OUT --config nowhere.toml", "nowhere.toml: cannot be read"),
        ("run dark-room", "required: --out"),
        ("run --out OUT", "required: ENV"),
        ("run dark-room extra --out OUT", "unexpected argument 'extra'"),
        ("collect dark-room", "required: --out"),
        ("train", "required: DIR"),
        ("train OUT", "no run's folder"),
        ("evaluate OUT", "no run's folder"),
        ("report OUT --stop-after 3", "unexpected argument '--stop-after'"),
        ("report OUT", "no run's folder"),
        ("compare OUT", "name two or more"),
    ],
)
def test_a_wrong_question_is_answered_by_what_would_be_right(
    words: str, said: str, capsys: Told, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    message = refused(capsys, *words.replace("OUT", str(out)).split())
    assert re.search(said.replace("OUT", str(out)), message), message
    assert not out.exists()


class Asked:
    """Stands in for the pipeline: keeps what it was asked for and does as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ending: BaseException | None = None):
        self.config: RunConfig | None = None
        self.stages: tuple[str, ...] = ()
        self._ending = ending
        monkeypatch.setattr(pipeline, "carry_out", self._carry_out)
        monkeypatch.setattr(pipeline, "is_finished", lambda folder: False)

    def _carry_out(
        self,
        folder: RunFolder,
        stages: tuple[str, ...],
        *,
        reporter: Reporter,
        stop: Stop,
        listen: object,
    ) -> None:
        self.config, self.stages = folder.config, stages
        if self._ending:
            raise self._ending


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_flags_change_the_file_and_the_file_changes_the_preset(
    asked: Asked, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        "seeds = [5]\n[train]\nupdates = 77\nbatch_sequences = 3\n[source.settings]\ndiscount = 0.5"
    )
    words = "collect dark-room --preset smoke --out OUT --config FILE --train.updates 5".split()
    words += "--train.compile --train.no-choose-best --tasks.train none".split()
    words += "--source.settings.trace 0.25".split()
    out, file = str(tmp_path / "run"), str(tmp_path / "mine.toml")
    assert main([word.replace("OUT", out).replace("FILE", file) for word in words]) == 0
    config = asked.config
    assert config is not None and config.preset == "smoke" and config.seeds == (5,)
    assert (config.train.updates, config.train.batch_sequences) == (5, 3)
    assert config.train.compile and not config.train.choose_best
    assert config.tasks.train is None
    assert config.source.settings["discount"] == 0.5 and config.source.settings["trace"] == 0.25
    assert config.device == "cpu"
    assert asked.stages == ("collect",)
    assert RunFolder.read(tmp_path / "run").config == config


def test_another_source_leaves_the_settings_of_the_one_before_behind(
    asked: Asked, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[source.settings]\ndiscount = 0.5")
    words = ["collect", "dark-room", "--preset", "smoke", "--config", str(tmp_path / "mine.toml")]
    assert main([*words, "--source.name", "a2c", "--out", str(tmp_path / "run")]) == 0
    assert asked.config is not None and asked.config.source.settings["discount"] != 0.5


def test_a_file_for_another_environment_is_refused(capsys: Told, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("env = 'bandit'\n[train]\nupdates = 1")
    file, out = str(tmp_path / "mine.toml"), str(tmp_path / "run")
    message = refused(capsys, "run", "dark-room", "--out", out, "--config", file)
    assert "it is for env = 'bandit', you asked for 'dark-room'" in message


def test_a_mistake_in_the_file_is_told_with_the_files_name(capsys: Told, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nupdats = 1")
    file, out = str(tmp_path / "mine.toml"), str(tmp_path / "run")
    message = refused(capsys, "run", "dark-room", "--out", out, "--config", file)
    assert "mine.toml: " in message and "Did you mean 'train.updates'" in message


def test_another_configuration_is_refused_with_the_fields_that_differ(
    asked: Asked, capsys: Told, tmp_path: Path
) -> None:
    words = ["collect", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    capsys.readouterr()
    message = refused(capsys, *words, "--model.layers", "3", "--source.settings.trace", "0.1")
    assert "model.layers: it has 2, you asked for 3" in message
    assert "source.settings.trace: it has" in message and "model.width" not in message


def test_a_folder_that_is_held_is_refused_by_name_of_its_holder(
    asked: Asked, capsys: Told, tmp_path: Path
) -> None:
    words = ["collect", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    capsys.readouterr()
    with RunFolder.read(tmp_path / "run").locked():
        assert f"in use by process {os.getpid()} on " in refused(capsys, *words)
    assert main(words) == 0


def test_a_stop_is_code_3_and_prints_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    Asked(monkeypatch, Stopped("stopped at update 5 of 9."))
    out = str(tmp_path / "my run")
    words = ["run", "dark-room", "--preset", "smoke", "--out", out, "--stop-after", "8"]
    assert main(words) == 3
    told = capsys.readouterr()
    assert "stopped at update 5 of 9." in told.err
    assert f"adbench run dark-room --preset smoke --out '{out}' --stop-after 8" in told.err
    assert main([*words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"folder": out, "finished": False}


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    Asked(monkeypatch, KeyboardInterrupt())
    out = str(tmp_path / "run")
    assert main(["run", "dark-room", "--preset", "smoke", "--out", out]) == 130
    told = capsys.readouterr().err
    assert "stopped by Ctrl-C" in told and f"is kept in {out}" in told
    assert f"adbench run dark-room --preset smoke --out {out}" in told


@pytest.mark.parametrize("moment", ["check", "is_finished"])
def test_ctrl_c_before_the_work_begins_says_how_to_go_on_once(
    moment: str, monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    Asked(monkeypatch)
    monkeypatch.setattr(pipeline, moment, interrupt)
    out = str(tmp_path / "run")
    assert main(["run", "dark-room", "--preset", "smoke", "--out", out]) == 130
    told = capsys.readouterr().err
    assert told.count(f"Go on with:  adbench run dark-room --preset smoke --out {out}") == 1
    if moment == "is_finished":
        assert main(["train", out]) == 130
        assert f"Go on with:  adbench train {out}" in capsys.readouterr().err


def test_sigterm_ends_as_ctrl_c_does_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    asked = Asked(monkeypatch)

    def terminate(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(pipeline, "carry_out", terminate)
    assert main(["run", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]) == 143
    assert "stopped by SIGTERM" in capsys.readouterr().err and asked.config is None
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_fault_of_ours_is_two_lines_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    Asked(monkeypatch, RuntimeError("the\nsky fell"))
    words = ["run", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    message = refused(capsys, *words, code=1)
    crash = tmp_path / "run" / "crash.txt"
    assert f"details are in {crash}" in message and len(message.splitlines()) == 2
    kept = crash.read_text()
    assert "Traceback" in kept and "sky fell" in kept and "adbench run dark-room" in kept


def test_a_full_disk_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    Asked(monkeypatch, OSError(28, "No space left on device", "/x/metrics.jsonl"))
    words = ["run", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    message = refused(capsys, *words, code=1)
    assert "/x/metrics.jsonl: No space left on device. What was finished is kept" in message
    assert not (tmp_path / "run" / "crash.txt").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (IsADirectoryError(21, "Is a directory", "r.tmp", None, "r"), "r: Is a directory. What"),
        (RuntimeError("[enforce fail] can't allocate memory: 8 bytes"), "out of memory. What"),
        (MemoryError(), "out of memory. What"),
    ],
)
def test_a_folder_or_a_memory_in_the_way_is_no_fault_of_ours(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    Asked(monkeypatch, error)
    words = ["run", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    assert told in refused(capsys, *words, code=1)
    assert not (tmp_path / "run" / "crash.txt").exists()


def test_asking_whether_a_run_is_finished_warns_of_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: Told, tmp_path: Path
) -> None:
    def damaged(folder: RunFolder) -> bool:
        warnings.warn("damaged", RuntimeWarning, stacklevel=1)
        return False

    Asked(monkeypatch, Stopped("Time is up."))
    monkeypatch.setattr(pipeline, "is_finished", damaged)
    words = ["run", "dark-room", "--preset", "smoke", "--out", str(tmp_path / "run")]
    with warnings.catch_warnings(action="error"):
        assert main(words) == 3
    assert "damaged" not in capsys.readouterr().err


def test_a_reader_that_goes_away_is_not_worth_a_word() -> None:
    code = "import sys; from adbench.cli import main; sys.exit(main(sys.argv[1:]))"
    asks = subprocess.Popen(
        [sys.executable, "-c", code, "help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert asks.stdout is not None and asks.stderr is not None
    asks.stdout.close()
    assert asks.stderr.read() == b""
    assert asks.wait() in (0, 1)
    asks.stderr.close()


def test_the_guide_names_every_verb_and_every_exit_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"`{verb}" in text for verb in VERBS)
    assert all(f"| {code} |" in text for code in (0, 1, 2, 3, 130, 143))
