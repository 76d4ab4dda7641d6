"""Training learns, resumes bit for bit, says how it goes and stops when it has to."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench.config import RunConfig
from adbench.errors import CheckpointError, Stopped, TrainingError
from adbench.model import DistillationModel
from adbench.tokens import Tokens
from adbench.train import load_model, precision

NewRun = Callable[..., Any]
NewConfig = Callable[..., RunConfig]
NewModel = Callable[[RunConfig], DistillationModel]
NewRows = Callable[[], Any]

CHANCE = math.log(3)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it."""


def stop_after(updates: int) -> Callable[[], bool]:
    asked = iter(range(1, 10_000))
    return lambda: next(asked) >= updates


def lines(run: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_a_learnable_row_is_learnt(run: NewRun) -> None:
    training = run(updates=60)
    summary = training()
    assert lines(training)[0]["loss"] > 0.5 * CHANCE
    # The first action of a row cannot be known: 1 of 14.
    assert summary.loss < 0.2 * CHANCE
    assert summary.updates == 60
    assert summary.tokens == 60 * 4 * 16
    assert summary.targets == 60 * 4 * 14  # two of sixteen tokens are final observations
    assert summary.tokens_per_second > 0


@pytest.mark.parametrize(
    "settings", [{"token_mask": 0.2}, {"optimizer": "muon"}], ids=["mask", "muon"]
)
def test_a_training_in_three_processes_is_one_training_to_the_last_bit(
    run: NewRun, rows: NewRows, settings: dict[str, Any]
) -> None:
    straight, broken = run(**settings), run(**settings)
    straight()
    with pytest.raises(Stopped, match="update 13 of 30"):
        broken(stop=stop_after(13))
    assert "update-00000013" in broken.names

    def kill(n: int, tokens: Tokens) -> Tokens:
        if n == 28:  # past the checkpoint of update 20
            raise Killed
        return tokens

    doomed = rows()
    doomed.spoil = kill
    with pytest.raises(Killed):
        broken(rows=doomed)
    summary = broken()
    assert summary.updates == 30
    assert broken.files(30) == straight.files(30)
    assert len(straight.files(30)) == 2


def test_metrics_tell_every_update_once_however_often_it_was_killed(
    run: NewRun, rows: NewRows
) -> None:
    training = run(updates=40)
    other = {"method": "ed", "seed": 0, "update": 40, "loss": 1.0}
    training.path.mkdir()
    training.metrics.write_text(json.dumps(other) + "\n")

    def kill(n: int, tokens: Tokens) -> Tokens:
        if n == 36:
            raise Killed
        return tokens

    doomed = rows()
    doomed.spoil = kill
    with pytest.raises(Killed):
        training(rows=doomed)
    with training.metrics.open("a") as file:
        file.write('{"method": "ad", "seed": 0, "upd')  # torn by the kill
    assert [line["update"] for line in lines_of(training)][-1] == 30
    training()
    told = lines(training)
    assert told[0] == other
    assert [line["update"] for line in told[1:]] == [10, 20, 30, 40]
    assert [line["tokens"] for line in told[1:]] == [640, 1280, 1920, 2560]
    assert all(line["tokens_per_second"] > 0 for line in told[1:])


def lines_of(run: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()[:-1]]


def test_a_finished_training_is_not_trained_again(run: NewRun) -> None:
    training = run()
    first = training()
    before = training.metrics.read_bytes(), training.files(30)
    again = training()
    assert (training.metrics.read_bytes(), training.files(30)) == before
    assert dataclasses.replace(again, checkpoint=first.checkpoint) == first


def test_every_method_trains_on_as_many_updates_and_tokens(run: NewRun) -> None:
    summaries = [run()(method=method) for method in ("ad", "ed", "ad-shuffled")]
    assert len({(s.updates, s.tokens) for s in summaries}) == 1


def test_a_loss_that_is_not_a_number_stops_training_and_keeps_the_last_good(
    run: NewRun, rows: NewRows
) -> None:
    training = run()

    def spoil(n: int, tokens: Tokens) -> Tokens:
        if n < 15:
            return tokens
        return dataclasses.replace(tokens, previous_reward=tokens.previous_reward * math.inf)

    spoilt = rows()
    spoilt.spoil = spoil
    with pytest.raises(TrainingError, match=r"loss is nan.*between updates 11 and 20.*update 10"):
        training(rows=spoilt)
    assert training.names == ["update-00000010"]
    assert training().updates == 30  # sound rows again: it goes on from there


def test_the_last_two_and_the_best_checkpoints_are_kept(
    run: NewRun, new_model: NewModel, config: NewConfig
) -> None:
    training = run(updates=50, choose_best=True)
    scores = iter([0.1, 0.9, 0.3, 0.9, 0.5])
    summary = training(validate=lambda _model: next(scores))
    assert training.names == [f"update-000000{n}" for n in (20, 40, 50)]
    assert summary.checkpoint.name == "update-00000020"  # the earliest of equals
    model = new_model(training.config)
    path = load_model(model, training.checkpoints, training.config, method="ad", seed=0)
    assert path == summary.checkpoint
    assert not model.training
    assert not torch.equal(model.head.weight, training.model.head.weight)


def test_validation_draws_as_it_likes_without_changing_training(run: NewRun) -> None:
    plain, noisy = run(choose_best=True), run(choose_best=True)
    plain(validate=lambda _model: 0.0)

    def draws(model: DistillationModel) -> float:
        assert not model.training
        return float(torch.rand(()))

    noisy(validate=draws)
    assert noisy.files(30) == plain.files(30)


def test_choosing_the_best_needs_a_score(run: NewRun) -> None:
    with pytest.raises(TrainingError, match="choose_best"):
        run(choose_best=True)()


def test_the_global_generator_is_left_as_it_was(run: NewRun) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(updates=3)()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_for_evaluation_are_the_last_ones_of_a_finished_training(
    run: NewRun, new_model: NewModel
) -> None:
    training = run()
    with pytest.raises(Stopped):
        training(stop=stop_after(12))
    model = new_model(training.config)
    with pytest.raises(CheckpointError, match=r"12 of 30 updates"):
        load_model(model, training.checkpoints, training.config, method="ad", seed=0)
    training()
    load_model(model, training.checkpoints, training.config, method="ad", seed=0)
    assert torch.equal(model.head.weight, training.model.head.weight)
    with pytest.raises(CheckpointError, match="method"):
        load_model(model, training.checkpoints, training.config, method="ed", seed=0)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(model, training.path / "nowhere", training.config, method="ad", seed=0)


def test_progress_is_told_every_update(run: NewRun) -> None:
    told: list[tuple[int, int]] = []
    run(updates=12)(progress=lambda done, total, note="": told.append((done, total)))
    assert told == [(n, 12) for n in range(13)]


def test_precision_follows_the_device_unless_told(config: NewConfig) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert precision(config().train, cpu) is None
    assert precision(config().train, gpu) is torch.bfloat16
    assert precision(config(precision="float32").train, gpu) is None
    assert precision(config(precision="bfloat16").train, cpu) is torch.bfloat16


def test_bfloat16_and_exact_contexts_train_too(run: NewRun) -> None:
    for settings in ({"precision": "bfloat16"}, {"context": "exact", "window_steps": 16}):
        assert run(updates=12, **settings)().loss < 1.2 * CHANCE


def test_a_machine_without_a_compiler_is_told_so(
    run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def refuse(*_args: Any, **_kwargs: Any) -> Callable[[Tokens], Tensor]:
        def forward(_tokens: Tokens) -> Tensor:
            raise TorchDynamoException("InvalidCxxCompiler: none here\nstack")

        return forward

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(TrainingError, match=r"InvalidCxxCompiler: none here.*train\.compile"):
        run(compile=True)()
