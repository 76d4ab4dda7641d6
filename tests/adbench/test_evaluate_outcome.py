"""A roll-out's file: whole or absent, and refused when it is not what was written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import safetensors.torch
import torch

from adbench.errors import AdbenchError, ResultsError
from adbench.outcome import Rollout

ABOUT = {"env": "dark-room", "env_version": 0, "stage": "evaluate/ad", "seed": 3}


def _rollout() -> Rollout:
    generator = torch.Generator().manual_seed(0)
    return Rollout(
        returns=torch.rand(6, 5, generator=generator),
        lengths=torch.randint(1, 20, (6, 5), generator=generator, dtype=torch.int32),
        task_index=torch.arange(3).repeat_interleave(2),
        tasks=torch.tensor([[3, 4], [5, 6], [7, 8]]),
        about=dict(ABOUT),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ad.safetensors"
    saved = _rollout()
    saved.save(path)
    loaded = Rollout.load(path, about={"env": "dark-room", "seed": 3})
    for name in ("returns", "lengths", "task_index", "tasks"):
        assert torch.equal(getattr(saved, name), getattr(loaded, name))
    assert loaded.about == ABOUT
    assert [file.name for file in path.parent.iterdir()] == ["ad.safetensors"]


def test_equal_roll_outs_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _rollout().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_curve_and_steps_are_over_all_lanes() -> None:
    rollout = _rollout()
    assert rollout.curve().tolist() == pytest.approx(rollout.returns.mean(0).tolist())
    assert rollout.env_steps == int(rollout.lengths.sum())


def test_a_file_about_something_else_is_refused_by_field(tmp_path: Path) -> None:
    path = tmp_path / "ad.safetensors"
    _rollout().save(path)
    with pytest.raises(ResultsError, match="its seed is 3, wanted 4"):
        Rollout.load(path, about={"seed": 4})


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="adbench evaluate"):
        Rollout.load(tmp_path / "none.safetensors")


def test_files_of_another_kind_or_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"returns": torch.zeros(1, 1)}
    for metadata, says in (
        (None, "another kind"),
        ({"adbench roll-out": '{"schema": 9}'}, "its schema is 9; this version reads 1"),
        ({"adbench roll-out": "[]"}, "its schema is None"),
        ({"adbench roll-out": '{"schema": 1}'}, "it lacks lengths, task_index, tasks"),
    ):
        safetensors.torch.save_file(tensors, path, metadata=metadata)
        with pytest.raises(ResultsError, match=says):
            Rollout.load(path)


def test_every_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ad.safetensors"
    _rollout().save(path)
    whole = path.read_bytes()
    drawn = random.Random(0)
    for turn in range(200):
        damaged = bytearray(whole)
        if turn % 2:
            del damaged[drawn.randrange(len(whole)) :]
        else:
            damaged[drawn.randrange(len(whole))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = Rollout.load(path)
        except AdbenchError as error:
            assert "ad.safetensors" in str(error)
        else:  # a bit of the header that says nothing, such as padding or letter case of a name
            assert torch.equal(loaded.returns, _rollout().returns)
            assert loaded.about == ABOUT


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ad.safetensors"
    _rollout().save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        _rollout().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("returns", torch.full((6, 5), torch.nan), "not finite"),
        ("returns", torch.zeros(6, 5, dtype=torch.float64), "float64"),
        ("returns", torch.zeros(6, 4), "not \\[N, K\\]"),
        ("lengths", torch.zeros(6, 5, dtype=torch.int32), "no steps"),
        ("task_index", torch.full((6,), 3), "from 3 to 3, tasks are 3"),
        ("task_index", torch.zeros(5, dtype=torch.int64), "not \\[6\\]"),
    ],
)
def test_a_roll_out_checks_itself(field: str, value: torch.Tensor, says: str) -> None:
    parts = vars(_rollout())
    with pytest.raises(ResultsError, match=says):
        Rollout(**{**parts, field: value})
