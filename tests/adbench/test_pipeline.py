"""A run from start to figure: what it leaves behind, what it repeats, and what it refuses."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from adbench import pipeline, plugins, resources
from adbench.cli import main
from adbench.config import RunConfig
from adbench.errors import (
    AdbenchError,
    CheckpointError,
    HistoryError,
    ResourceError,
    ResultsError,
    Stopped,
    TrainingError,
)
from adbench.evaluate import Rollout
from adbench.flags import command_of, resolve
from adbench.folder import RunFolder
from adbench.progress import Reporter, duration
from adbench.results_file import read_results
from adbench.stages.work import STAGES, Seconds, Work

Told = pytest.CaptureFixture[str]

TINY: dict[str, Any] = {
    "tasks": {"train": 8, "validation": 2, "test": 2},
    "collect": {"learners_per_task": 1, "episodes": 4, "expert_episodes": 1, "max_episodes": 6},
    "train": {"updates": 2, "checkpoint_updates": 1, "batch_sequences": 2},
    "evaluate": {"episodes": 2, "lanes_per_task": 1},
}
TRAINED = ("ad", "ed", "ad-shuffled")


def tiny(env: str = "dark-room", **changes: Any) -> RunConfig:
    return resolve(env, "smoke", None, TINY | changes)


def carry_out(config: RunConfig, path: Path, *stages: str, **how: Any) -> str:
    """Carry stages out (all, if none is named); what was said meanwhile."""
    said = io.StringIO()
    folder = RunFolder.open(path, config)
    with folder.locked():
        folder.settle()
        pipeline.carry_out(folder, stages or STAGES, reporter=Reporter(said), **how)
    return said.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on two seeds."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    config = tiny(seeds=(0, 5))
    assert main([*command_of(config).split()[1:], "--out", str(path)]) == 0
    return path


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run of AD alone that is trained and not yet evaluated."""
    carry_out(tiny(methods=("ad",)), tmp_path / "run", "collect", "train")
    return tmp_path / "run"


def test_a_run_leaves_all_its_rows_a_report_and_the_way_there(finished: Path) -> None:
    results = read_results(finished)
    config = RunFolder.read(finished).config
    assert set(results["scores"]) == set(config.methods)
    assert (finished / "report.html").stat().st_size > 10_000
    for seed in config.seeds:
        assert len(list((finished / f"histories/seed-{seed}").glob("shard-*.h5"))) == 8
        for method in config.methods:
            path = finished / f"evaluations/seed-{seed}/test/{method}.safetensors"
            assert path.exists() == (method not in ("random", "optimal"))
    assert set(results["stage_seconds"]) == set(STAGES)
    assert all(seconds > 0 for seconds in results["stage_seconds"].values())
    assert all(rate > 0 for rate in results["throughput"].values())
    assert results["threads"] >= 1 and results["device"] == "cpu"
    assert pipeline.is_finished(RunFolder.read(finished))


def test_every_trained_row_has_as_many_updates_and_tokens(finished: Path) -> None:
    results = read_results(finished)
    assert results["updates"] == dict.fromkeys(TRAINED, 2)
    assert set(results["tokens"]) == set(TRAINED)
    assert len(set(results["tokens"].values())) == 1
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    last = {(line["seed"], line["method"]): line for line in lines if line["update"] == 2}
    assert {key: line["tokens"] for key, line in last.items()} == {
        (seed, method): results["tokens"]["ad"] for seed in (0, 5) for method in TRAINED
    }


def test_trained_rows_begin_from_equal_weights_and_seeds_from_others(finished: Path) -> None:
    """After two small updates the weights still lie close by where they began from equal ones."""

    def weights(seed: int, method: str) -> Tensor:
        last = max((finished / f"checkpoints/seed-{seed}/{method}").glob("update-*"))
        return load_file(last / "model.safetensors")["blocks.0.hidden_in.weight"]

    near = (weights(0, "ad") - weights(0, "ed")).abs().max()
    far = (weights(0, "ad") - weights(5, "ad")).abs().max()
    assert 0 < near < far / 5


def test_adbench_without_reward_plays_ads_weights_otherwise(finished: Path) -> None:
    ad, blind = (
        Rollout.load(finished / f"evaluations/seed-0/test/{name}.safetensors")
        for name in ("ad", "ad-no-reward")
    )
    assert ad.about["stage"] != blind.about["stage"]
    assert not (finished / "checkpoints/seed-0/ad-no-reward").exists()


def test_the_first_report_comes_before_the_other_rows_are_trained(finished: Path) -> None:
    folder = RunFolder.read(finished)
    steps = pipeline.plan(
        Work(folder, plugins.family("dark-room")), Seconds(finished / "seconds.json")
    )
    order = [f"{step.stage} {step.account}".strip() for step in steps]
    first = order.index("report")
    assert order[:5] == ["collect", "train ad", "evaluate source", "evaluate ad", order[4]]
    assert order[4] == "evaluate ad-no-reward" and order.count("report") == 2
    assert not {"train ed", "train ad-shuffled", "evaluate choose"} & set(order[:first])
    assert order[-1] == "report"


def test_the_command_in_the_results_asks_for_the_same_run(finished: Path) -> None:
    import shlex

    from adbench.flags import take_flags

    words = shlex.split(read_results(finished)["command"])
    assert words[:3] == ["adbench", "run", "dark-room"] and "--out" not in words
    flags, rest = take_flags(words[3:], ("--preset",))
    assert rest == ["--preset", "smoke"]
    assert resolve("dark-room", "smoke", None, flags) == RunFolder.read(finished).config


def test_a_command_is_as_short_as_its_difference_from_the_preset() -> None:
    assert command_of(resolve("dark-room", "smoke", None, {})) == (
        "adbench run dark-room --preset smoke"
    )
    changed = resolve("dark-room", "smoke", None, {"seeds": (1, 2), "train": {"compile": True}})
    assert command_of(changed).endswith("--preset smoke --seeds 1,2 --train.compile true")


def test_an_unknown_test_set_row_or_seed_is_not_in_the_way(finished: Path, tmp_path: Path) -> None:
    """Three test sets at once, each with rows of its own."""
    path = tmp_path / "run"
    carry_out(tiny("bandit", methods=("ad", "source", "random", "optimal")), path)
    results = read_results(path)
    assert set(results["test_sets"]) == {"odd", "even", "uniform"}
    assert all(
        set(each["scores"]) == {"ad", "source", "random", "optimal"}
        for each in results["test_sets"].values()
    )


def test_stages_can_be_carried_out_one_by_one_by_their_verbs(capsys: Told, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    words = "dark-room --preset smoke --methods ad,random --tasks.train 8 --tasks.test 2".split()
    words += "--collect.learners-per-task 1 --train.updates 2 --evaluate.episodes 2".split()
    assert main(["collect", *words, "--out", out]) == 0
    assert f"next     adbench train {out}" in capsys.readouterr().out
    assert main(["evaluate", out]) == 1
    assert "'ad' is not trained" in capsys.readouterr().err
    assert main(["report", out]) == 1
    assert "Run `adbench evaluate DIR`" in capsys.readouterr().err
    assert main(["train", out]) == 0
    assert f"next     adbench evaluate {out}" in capsys.readouterr().out
    assert main(["evaluate", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"] == f"adbench report {out}"
    assert not (tmp_path / "run" / "results.json").exists()
    assert main(["report", out]) == 0
    told = capsys.readouterr()
    assert f"report   {out}/report.html" in told.out and "random" in told.out
    assert main(["run", *words, "--out", out]) == 0
    assert "this run is finished" in capsys.readouterr().err
    assert main(["compare", out]) == 2
    assert main(["compare", out, out + "/."]) in (0, 2)


def test_a_report_is_drawn_again_when_it_is_asked_for(finished: Path) -> None:
    before = read_results(finished)
    (finished / "report.html").write_text("scribbled over")
    carry_out(tiny(seeds=(0, 5)), finished, "report")
    assert (finished / "report.html").stat().st_size > 10_000
    after = read_results(finished)
    same = {
        name
        for name in after
        if name not in ("stage_seconds", "throughput", "peak_memory_bytes", "commit")
    }
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@pytest.mark.parametrize("instead", [Path.touch, Path.mkdir])
def test_a_page_that_is_empty_or_a_folder_is_drawn_again(
    finished: Path, instead: Callable[[Path], None]
) -> None:
    page = finished / "report.html"
    page.unlink()
    instead(page)
    assert not pipeline.is_finished(RunFolder.read(finished))
    carry_out(tiny(seeds=(0, 5)), finished)
    assert page.stat().st_size > 10_000 and pipeline.is_finished(RunFolder.read(finished))


def test_time_is_added_up_over_processes(finished: Path) -> None:
    before = Seconds(finished / "seconds.json").of("report")
    carry_out(tiny(seeds=(0, 5)), finished, "report")
    after = Seconds(finished / "seconds.json").of("report")
    assert before is not None and after is not None and after > before


@pytest.mark.parametrize("text", ["", "[]", "{", '{"train/ad": "soon"}', '{"train/ad": -5}'])
def test_a_damaged_account_of_time_starts_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "seconds.json").write_text(text)
    ticks = iter(range(100))
    seconds = Seconds(tmp_path / "seconds.json", clock=lambda: float(next(ticks)))
    with seconds.book("train", "ad", lambda *_: None) as progress:
        progress(1, 2)
    assert Seconds(tmp_path / "seconds.json").of("train", "ad") == seconds.of("train") > 0  # type: ignore[operator]
    assert seconds.of("collect") is None


def test_a_killed_process_loses_only_seconds_of_its_account(tmp_path: Path) -> None:
    now = 0.0
    seconds = Seconds(tmp_path / "s.json", clock=lambda: now, interval_seconds=5.0)
    with seconds.book("train", "ad", lambda *_: None) as progress:
        for moment in (4.0, 6.0, 9.0, 12.0, 13.0):
            now = moment
            progress(1, 2)
        assert Seconds(tmp_path / "s.json").of("train") == 12.0


def test_training_without_histories_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="Collect them first"):
        carry_out(tiny(methods=("ad",)), tmp_path / "run", "train")


def test_a_damaged_shard_stops_training_and_is_collected_again(trained: Path) -> None:
    shard = trained / "histories/seed-0/shard-00003.h5"
    sound = shard.read_bytes()
    shard.write_bytes(sound[:-100])
    config = tiny(methods=("ad",))
    shutil.rmtree(trained / "checkpoints")
    with pytest.raises(HistoryError, match=r"shard-00003\.h5.*adbench collect dark-room --config"):
        carry_out(config, trained, "train")
    carry_out(config, trained, "collect")
    assert shard.read_bytes() == sound


def test_a_damaged_roll_out_is_named_and_played_again(trained: Path) -> None:
    config = tiny(methods=("ad",))
    carry_out(config, trained, "evaluate")
    path = trained / "evaluations/seed-0/test/ad.safetensors"
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.warns(RuntimeWarning, match=r"ad\.safetensors is refused.*It is played again"):
        carry_out(config, trained, "evaluate")
    assert path.read_bytes() == sound


def test_a_roll_out_of_another_method_or_seed_is_not_taken_for_ones_own(trained: Path) -> None:
    config = tiny(methods=("ad", "source"), seeds=(0,))
    path = trained.parent / "other"
    carry_out(config, path)
    evaluations = path / "evaluations/seed-0/test"
    (evaluations / "ad.safetensors").write_bytes((evaluations / "source.safetensors").read_bytes())
    with pytest.raises(ResultsError, match=r"ad\.safetensors is refused: its stage"):
        carry_out(config, path, "report")


def test_checkpoints_of_another_configuration_are_refused_with_the_fields(trained: Path) -> None:
    text = (trained / "config.toml").read_text()
    (trained / "config.toml").write_text(text.replace("layers = 2", "layers = 3"))
    other = RunFolder.read(trained).config
    with pytest.raises(CheckpointError, match=r"model\.layers: 2 there, 3 here"):
        carry_out(other, trained, "evaluate")


def test_training_that_is_finished_is_not_begun_again(trained: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in (trained / "checkpoints").rglob("*") if p.is_file()}
    said = carry_out(tiny(methods=("ad",)), trained, "train")
    assert "train ad, seed 0: there already" in said
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_a_stop_before_anything_is_left_begins_nothing(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="before: collect, seed 0"):
        carry_out(tiny(), tmp_path / "run", stop=lambda: True)
    assert not (tmp_path / "run" / "histories").exists()


@pytest.mark.parametrize(
    ("stage", "asked"), [("collect", "free_disk_bytes"), ("train", "free_memory_bytes")]
)
def test_a_stage_that_would_not_fit_is_refused_with_both_numbers(
    trained: Path, monkeypatch: pytest.MonkeyPatch, stage: str, asked: str
) -> None:
    shutil.rmtree(trained / "checkpoints")
    if stage == "collect":
        shutil.rmtree(trained / "histories")
    monkeypatch.setattr(resources, asked, lambda *_: 1234)
    with pytest.raises(ResourceError, match=rf"{stage}.*seed 0: needs about .* 1\.2 kB are free"):
        carry_out(tiny(methods=("ad",)), trained, stage)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("collect", {"collect": {"learners_per_task": 10**9}}),
        ("collect", {"collect": {"max_episodes": 10**9}}),
        ("train", {"model": {"width": 2**24}}),
        ("train", {"model": {"layers": 10**9}}),
        ("train", {"train": {"window_steps": 10**9}}),
        ("evaluate", {"evaluate": {"episodes": 10**9}}),
        ("evaluate", {"evaluate": {"lanes_per_task": 10**9}}),
        ("evaluate", {"evaluate": {"source_episodes": 10**9}}),
    ],
)
def test_sizes_beyond_the_machine_are_refused_before_anything_is_made(
    tmp_path: Path, stage: str, changes: dict[str, dict[str, int]]
) -> None:
    config = resolve("dark-room", "smoke", None, changes)
    with pytest.raises(ResourceError, match=rf"{stage}.*needs about .* are free. Nothing was"):
        carry_out(config, tmp_path / "run")
    assert not (tmp_path / "run" / "histories").exists()
    assert not (tmp_path / "run" / "evaluations").exists()


def test_no_expert_episodes_means_no_ed_and_says_so(tmp_path: Path) -> None:
    collect = TINY["collect"] | {"expert_episodes": 0}
    with pytest.raises(AdbenchError, match="expert"):
        carry_out(tiny(methods=("ed",), collect=collect), tmp_path / "run")


def test_an_unknown_optimum_is_estimated_from_the_sources_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(plugins.family("dark-room"))
    monkeypatch.setattr(kind, "optimal_return", lambda self, tasks: None)
    config = tiny(methods=("ad", "source", "random", "optimal"))
    carry_out(config, tmp_path / "run")
    results = read_results(tmp_path / "run")
    assert results["optimal_estimated"] is True
    assert results["optimal_return"] is not None


def test_a_run_that_distils_nothing_collects_nothing(tmp_path: Path) -> None:
    carry_out(tiny(methods=("source", "random")), tmp_path / "run")
    assert not (tmp_path / "run" / "histories").exists()
    assert set(read_results(tmp_path / "run")["scores"]) == {"source", "random"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock(*times: float) -> Iterator[float]:
    yield from times
    while True:
        yield times[-1]


def test_progress_in_a_log_is_a_line_now_and_then_with_the_time_left() -> None:
    said, times = io.StringIO(), clock(0, 0, 1, 11, 12, 100, 100)
    reporter = Reporter(said, clock=lambda: next(times), interval_seconds=10)
    with reporter.task("train ad", unit="updates") as progress:
        progress(0, 1000)
        progress(100, 1000, "loss 1.5")
        progress(110, 1000, "loss 1.4")
        progress(1000, 1000)
    assert said.getvalue().splitlines() == [
        "train ad ... ",
        "train ad: 100 of 1,000 updates (10 %), 1 min 39 s left, loss 1.5",
        "train ad: 1 min 40 s",
    ]


def test_a_short_stage_is_one_line_and_a_word_between_stands_on_its_own() -> None:
    said = io.StringIO()
    reporter = Reporter(said, clock=lambda: 0.0)
    with reporter.task("report", unit="parts"):
        pass
    with reporter.task("collect", unit="episodes"):
        reporter.say("adbench: a word")
    assert said.getvalue() == "report ... 0 s\ncollect ... \nadbench: a word\ncollect: 0 s\n"


def test_a_terminal_gets_a_bar_and_afterwards_the_time() -> None:
    said = Terminal()
    with Reporter(said, clock=lambda: 0.0).task("train ad", unit="updates") as progress:
        progress(5, 10, "loss 1.5")
    assert "train ad: 0 s" in said.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_an_error_in_a_stage_leaves_the_account_and_the_lock_in_order(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adbench.stages import evaluate

    def fails(*_: Any, **__: Any) -> None:
        raise TrainingError("the ground shook")

    monkeypatch.setattr(evaluate, "rollout", fails)
    with pytest.raises(TrainingError, match="the ground shook"):
        carry_out(tiny(methods=("ad",)), trained, "evaluate")
    with RunFolder.read(trained).locked():
        assert Seconds(trained / "seconds.json").of("evaluate", "ad") is not None
