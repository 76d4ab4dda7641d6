"""300 damaged manifests and shards: an error of ours each, or histories that can be used."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.errors import AdbenchError, HistoryError
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler

Make = Callable[..., Any]
CASES_A_TEST = 25

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**40, 0.5, 1e300, "", "x", "../x", "\0", [], [[]], [-1],
    {}, {"kind": "box"},
)  # fmt: skip


@pytest.fixture(params=["observations", "states"])
def folder(request: pytest.FixtureRequest, write_histories: Make) -> Path:
    """One shard of histories: with observations of every kind, or with states and samples."""
    states = request.param == "states"
    path: Path = write_histories(shards=1, histories=3, dict_space=not states, states=states)[0]
    return path


def use(folder: Path) -> None:
    """Do everything with a folder that training does."""
    store = HistoryStore.open(folder)
    for history in range(store.num_histories):
        store.window(history, 0, int(store.lengths[history]))
        store.returns(history)
        store.episode(history, 0)
    sampler = WindowSampler(store, row_steps=9, seed=0, label="ad")
    sampler.batch(4)
    sampler.stats()


def flip(raw: bytes, chance: random.Random) -> bytes:
    """Flip bits, overwrite bytes, cut off, put in, or repeat a part."""
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 1, 3, 20))):
        place = chance.randrange(len(changed))
        what = chance.randrange(5)
        if what == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif what == 1:
            changed[place] = chance.choice((0, 255, chance.randrange(256)))
        elif what == 2:
            del changed[max(1, place) :]
        elif what == 3:
            changed[place:place] = chance.randbytes(chance.randrange(1, 9))
        else:
            changed[place : place + 8] = changed[:8]
    return bytes(changed)


def edit(value: Any, chance: random.Random) -> Any:
    """Change something, anywhere in a JSON value."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        copy = dict(value)
        if chance.random() < 0.1:
            copy[f"{key}x"] = copy.pop(key)
        elif chance.random() < 0.1:
            del copy[key]
        else:
            copy[key] = edit(value[key], chance)
        return copy
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], edit(value[place], chance), *value[place + 1 :]]
    if type(value) is int and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 256, -(2**31)))
    return chance.choice(STRANGE)


def survives(folder: Path, what: str) -> bool:
    """Whether the histories can be used; an error that is not ours fails the test."""
    try:
        use(folder)
    except AdbenchError as error:
        assert str(error), what
        return False
    except BaseException as error:
        raise AssertionError(f"{what}: {error!r}") from error
    return True


@pytest.mark.parametrize("block", range(3))
def test_a_fuzzed_shard_is_refused_by_its_checksum(block: int, folder: Path) -> None:
    whole = (folder / "shard-00000.h5").read_bytes()
    for seed in range(block * CASES_A_TEST, (block + 1) * CASES_A_TEST):
        fuzzed = flip(whole, random.Random(seed))
        (folder / "shard-00000.h5").write_bytes(fuzzed)
        if fuzzed != whole:
            with pytest.raises(HistoryError, match=r"shard-00000\.h5 is (altered|truncated)"):
                HistoryStore.open(folder)


@pytest.mark.parametrize("block", range(4))
def test_a_fuzzed_shard_with_a_forged_checksum_is_refused_or_of_use(
    block: int, folder: Path
) -> None:
    whole = (folder / "shard-00000.h5").read_bytes()
    line = json.loads((folder / "manifest.jsonl").read_text())
    for seed in range(block * CASES_A_TEST, (block + 1) * CASES_A_TEST):
        chance = random.Random(1000 + seed)
        # Half of them in the first kilobytes, where HDF5 keeps what it knows about the data sets.
        split = 4096 if seed % 2 else len(whole)
        fuzzed = flip(whole[:split], chance) + whole[split:]
        (folder / "shard-00000.h5").write_bytes(fuzzed)
        digest = hashlib.blake2b(fuzzed, digest_size=32).hexdigest()
        record = json.dumps({**line, "bytes": len(fuzzed), "blake2b": digest})
        (folder / "manifest.jsonl").write_text(f"{record}\n")
        survives(folder, f"seed {seed}")


@pytest.mark.parametrize("block", range(3))
def test_a_manifest_with_fuzzed_values_is_refused_or_of_use(block: int, folder: Path) -> None:
    line = json.loads((folder / "manifest.jsonl").read_text())
    refused = 0
    for seed in range(block * CASES_A_TEST, (block + 1) * CASES_A_TEST):
        fuzzed = edit(line, random.Random(2000 + seed))
        (folder / "manifest.jsonl").write_text(json.dumps(fuzzed) + "\n")
        refused += not survives(folder, f"seed {seed}: {json.dumps(fuzzed)[:2000]}")
    assert refused > CASES_A_TEST // 2


@pytest.mark.parametrize("block", range(2))
def test_a_manifest_with_fuzzed_bytes_is_refused_or_of_use(block: int, folder: Path) -> None:
    whole = (folder / "manifest.jsonl").read_bytes()
    for seed in range(block * CASES_A_TEST, (block + 1) * CASES_A_TEST):
        (folder / "manifest.jsonl").write_bytes(flip(whole, random.Random(3000 + seed)))
        survives(folder, f"seed {seed}")
