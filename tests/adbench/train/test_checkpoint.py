"""Checkpoints are whole or not there, are refused where they are not ours, and run no code."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench import checkpoint
from adbench.checkpoint import Checkpoint, OtherConfigError
from adbench.errors import AdbenchError, CheckpointError, ResourceError

IDENTITY: dict[str, Any] = {"method": "ad", "train": {"learning_rate": 0.002, "seeds": (1, 2)}}


def tensors(update: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(update)
    return {
        "head.weight": torch.randn(3, 5, generator=draw),
        "norm.bias": torch.randn(5, generator=draw),
        "scalar": torch.tensor(float(update)),
    }


def save(
    folder: Path, update: int, *, score: float | None = None, identity: dict[str, Any] = IDENTITY
) -> Path:
    model = tensors(update)
    return checkpoint.save(
        folder,
        update=update,
        identity=identity,
        model=model,
        optimizer={"head.weight/exp_avg": model["head.weight"] * 2},
        training={"tokens": 100 * update, "sampler": {"batches": update}},
        score=score,
    )


def latest(folder: Path, **options: Any) -> Checkpoint:
    found = checkpoint.latest(folder, **options)
    assert found is not None
    return found


def best(folder: Path) -> Checkpoint:
    found = checkpoint.best(folder)
    assert found is not None
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = save(tmp_path, 7, score=0.25)
    found = checkpoint.load(path, identity=IDENTITY)
    assert (found.update, found.score) == (7, 0.25)
    assert found.training == {"tokens": 700, "sampler": {"batches": 7}}
    for name, tensor in tensors(7).items():
        assert torch.equal(found.model[name], tensor)
    assert torch.equal(found.optimizer["head.weight/exp_avg"], tensors(7)["head.weight"] * 2)


def test_equal_checkpoints_are_equal_bytes(tmp_path: Path) -> None:
    one, two = save(tmp_path / "a", 3), save(tmp_path / "b", 3)
    for name in names(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nowhere") is None
    (tmp_path / "update-00000003.tmp").mkdir()
    (tmp_path / "notes").mkdir()
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.best(tmp_path) is None


def test_the_last_two_and_the_best_stay(tmp_path: Path) -> None:
    for update, score in ((10, 0.5), (20, 0.9), (30, 0.9), (40, 0.1), (50, None)):
        save(tmp_path, update, score=score)
    assert names(tmp_path) == [f"update-000000{n}" for n in (20, 40, 50)]
    assert latest(tmp_path).update == 50
    assert best(tmp_path).update == 20


def test_the_best_of_unscored_checkpoints_is_the_last(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert best(tmp_path).update == 2


def test_what_a_kill_left_half_written_is_not_a_checkpoint_and_goes(tmp_path: Path) -> None:
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "update-00000001", tmp_path / "update-00000002.tmp")
    assert latest(tmp_path).update == 1
    save(tmp_path, 2)
    assert names(tmp_path) == ["update-00000001", "update-00000002"]


def test_a_checkpoint_takes_its_name_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def fail(_handle: int) -> None:
        assert names(tmp_path) == ["update-00000001", "update-00000002.tmp"]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match=r"update-00000002.*No space left"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert names(tmp_path) == ["update-00000001"]
    assert latest(tmp_path).update == 1


def test_another_configuration_is_refused_by_the_fields_that_differ(tmp_path: Path) -> None:
    save(tmp_path, 1)
    other = {"method": "ed", "train": {"learning_rate": 0.001, "seeds": (1, 2)}, "extra": 1}
    with pytest.raises(OtherConfigError) as refused:
        checkpoint.latest(tmp_path, identity=other)
    message = str(refused.value)
    assert 'method: "ad" there, "ed" here' in message
    assert "train.learning_rate: 0.002 there, 0.001 here" in message
    assert "extra: null there, 1 here" in message
    assert "seeds" not in message
    assert refused.value.exit_code == 2


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    save(tmp_path, 1)
    damaged = save(tmp_path, 2) / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match=r"model\.safetensors is damaged.*update-00000001"):
        assert latest(tmp_path, identity=IDENTITY).update == 1
    save(tmp_path, 2)  # as training does when it comes by again
    assert latest(tmp_path, identity=IDENTITY).update == 2
    assert names(tmp_path) == ["update-00000001", "update-00000002"]


def test_nothing_but_damaged_checkpoints_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for update in (1, 2):
        (save(tmp_path, update) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"state\.json.*Move the folder away"):
        checkpoint.latest(tmp_path)


def crafted(path: Path, **changes: Any) -> None:
    """A state file with a field replaced and its seal made anew, as somebody with intent would."""
    state = json.loads((path / "state.json").read_bytes())
    state.pop("checksum")
    state.update(changes)
    plain = json.dumps(state, sort_keys=True).encode()
    state["checksum"] = hashlib.blake2b(plain, digest_size=16).hexdigest()
    (path / "state.json").write_text(json.dumps(state))


def test_a_crafted_state_reads_no_other_file(tmp_path: Path) -> None:
    path = save(tmp_path / "run", 1)
    secret = tmp_path / "secret.safetensors"
    shutil.copy(path / "model.safetensors", secret)
    sums = json.loads((path / "state.json").read_bytes())["checksums"]
    crafted(path, checksums={**sums, "../../secret.safetensors": sums["model.safetensors"]})
    with pytest.raises(CheckpointError, match="it lists"):
        checkpoint.load(path)


@pytest.mark.parametrize("changes", [{"update": -1}, {"schema_version": 2}, {"score": "high"}])
def test_crafted_states_of_another_shape_are_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = save(tmp_path, 1)
    crafted(path, **changes)
    with pytest.raises(CheckpointError, match=rf"state\.json.*{next(iter(changes))}"):
        checkpoint.load(path)


def mutations(raw: bytes, draw: random.Random) -> Iterator[bytes]:
    """Ways in which a file gets spoilt, one drawn."""
    at = draw.randrange(len(raw))
    yield raw[:at]
    yield raw + b"\0" * draw.randrange(1, 9)
    yield raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :]
    yield raw[:at] + raw[at + 1 + draw.randrange(8) :]
    yield struct.pack("<Q", draw.randrange(2**63)) + raw[8:]
    yield b""
    yield draw.randbytes(len(raw))
    yield b"\x80\x04\x95" + raw  # how a pickle begins
    yield b"[" * 100_000
    yield b'{"a": ' * 5_000 + b"1" + b"}" * 5_000


FUZZED = 90


def test_spoilt_checkpoints_give_an_error_of_ours_each(tmp_path: Path) -> None:
    draw = random.Random(0)
    whole = save(tmp_path / "whole", 4, score=1.5)
    files = names(whole)
    tried = 0
    while tried < FUZZED:
        name = files[tried % len(files)]
        raw = (whole / name).read_bytes()
        for spoilt in mutations(raw, draw):
            if spoilt == raw or _same_json(spoilt, raw):
                continue
            path = tmp_path / "update-00000004"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(whole, path)
            (path / name).write_bytes(spoilt)
            with pytest.raises(AdbenchError) as refused:
                checkpoint.load(path, identity=IDENTITY)
            assert name in str(refused.value)
            tried += 1


def _same_json(spoilt: bytes, raw: bytes) -> bool:
    """White space that moved is no damage."""
    try:
        return bool(json.loads(spoilt) == json.loads(raw))
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.safetensors"])
def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1)
    (path / name).unlink()
    (path / name).mkdir()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(path)
