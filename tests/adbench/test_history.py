"""What is written is what is read, whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import torch

from adbench.errors import ContractError, HistoryError, ResourceError, UsageError
from adbench.history.reader import HistoryStore, intact_shards
from adbench.history.schema import FieldRecord, ManifestLine
from adbench.history.spaces import space_record, spaces_of, storage_dtype
from adbench.history.writer import named_arrays, return_curve, write_shard

Make = Callable[..., Any]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_what_is_read(write_histories: Make) -> None:
    folder, written = write_histories(shards=3)
    store = HistoryStore.open(folder, env="grid", env_version=3)
    assert store.num_histories == 12
    assert store.damaged == ()
    history = 0
    for arrays in written:
        for row in range(4):
            length = int(arrays["length"][row])
            window = store.window(history, 0, length)
            for name in ("observation", "action", "reward", "terminated", "state/pose"):
                np.testing.assert_array_equal(window[name].numpy(), arrays[name][row, :length])
            ends = arrays["episode_end"][row]
            np.testing.assert_array_equal(store.episode_ends(history), ends[ends >= 0])
            np.testing.assert_array_equal(store.tasks[history].numpy(), arrays["task"][row])
            assert store.learner_seed[history] == arrays["learner_seed"][row]
            assert store.lengths[history] == length
            history += 1


def test_a_window_is_any_stretch_of_one_history(write_histories: Make) -> None:
    folder, written = write_histories(shards=1)
    store = HistoryStore.open(folder)
    length = int(store.lengths[2])
    for start, steps in ((0, 1), (1, 3), (length - 1, 1), (length, 0)):
        window = store.window(2, start, steps)
        expected = written[0]["observation"][2, start : start + steps]
        np.testing.assert_array_equal(window["observation"].numpy(), expected)
    for history, start, steps in ((2, length, 1), (2, -1, 2), (4, 0, 1), (-1, 0, 1)):
        with pytest.raises(HistoryError, match="has"):
            store.window(history, start, steps)


def test_an_episode_comes_with_its_final_observation(write_histories: Make) -> None:
    folder, written = write_histories(shards=2)
    store = HistoryStore.open(folder)
    arrays = written[1]
    start, end = arrays["episode_end"][3, :2]
    episode = store.episode(7, 1)
    np.testing.assert_array_equal(episode["action"].numpy(), arrays["action"][3, start:end])
    final = arrays["final_observation"][3, 1]
    np.testing.assert_array_equal(episode["final_observation"].numpy(), final)
    with pytest.raises(HistoryError, match="episodes, not number 99"):
        store.episode(7, 99)


def test_returns_are_sums_of_rewards_between_ends(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[2, 3, 1], [4]])
    arrays["reward"] = np.arange(2 * 9, dtype=np.float32).reshape(2, 9)
    line = write_shard(tmp_path, 0, arrays, meta_of())
    store = HistoryStore.open(tmp_path)
    assert store.returns(0).tolist() == [0 + 1, 2 + 3 + 4, 5]
    assert store.returns(1).tolist() == [9 + 10 + 11 + 12]
    assert line.return_curve == ((1 + 42) / 2, 9, 5)
    ends = np.array([[2, 5, 6], [4, -1, -1]], np.int32)
    assert return_curve(arrays["reward"], ends).tolist() == [21.5, 9, 5]


def test_dict_observations_are_one_field_a_key(write_histories: Make) -> None:
    folder, written = write_histories(shards=1, dict_space=True)
    store = HistoryStore.open(folder)
    window = store.window(1, 2, 3)
    for key in ("cell", "scent"):
        expected = written[0][f"observation/{key}"][1, 2:5].astype(np.float32)
        np.testing.assert_array_equal(window[f"observation/{key}"].numpy(), expected)
    assert store.fields["observation/cell"].dtype == "u1"
    assert store.fields["observation/scent"].dtype == "f4"


def test_writing_to_a_window_does_not_change_the_file(write_histories: Make) -> None:
    folder, _ = write_histories(shards=1)
    before = contents(folder)
    HistoryStore.open(folder).window(0, 0, 5)["reward"].fill_(99.0)
    assert contents(folder) == before
    assert float(HistoryStore.open(folder).window(0, 0, 1)["reward"]) != 99.0


def test_the_manifest_says_where_histories_come_from_and_what_each_field_is(
    write_histories: Make,
) -> None:
    folder, written = write_histories(shards=1)
    record = json.loads((folder / "manifest.jsonl").read_text())
    assert next(iter(record)) == "schema"
    assert record["schema"] == 1
    assert record["file"] == "shard-00000.h5"
    assert record["bytes"] == (folder / "shard-00000.h5").stat().st_size
    assert (record["env"], record["env_version"], record["split"]) == ("grid", 3, "train")
    assert record["source_config"] == {"trace": 0.9, "decay": None}
    assert record["steps"] == int(written[0]["length"].sum())
    assert record["fields"]["action"]["space"] == {"kind": "discrete", "n": 5, "start": 0}
    assert record["fields"]["observation"]["space"] == {"kind": "multi_discrete", "nvec": [9, 9]}
    assert all(field["space"] is not None for field in record["fields"].values())


def test_equal_contents_give_equal_bytes(arrays_of: Make, meta_of: Make, tmp_path: Path) -> None:
    arrays = arrays_of([[2, 3], [4, 1]], dict_space=True)
    write_shard(tmp_path, 0, arrays, meta_of(dict_space=True))
    time.sleep(1.1)  # HDF5 would stamp times in seconds
    backwards = dict(reversed(arrays.items()))
    write_shard(tmp_path, 1, backwards, meta_of(dict_space=True))
    first, second = (HistoryStore.open(tmp_path).manifest[i].blake2b for i in (0, 1))
    assert first == second
    arrays["reward"][0, 0] += 1
    assert write_shard(tmp_path, 1, arrays, meta_of(dict_space=True)).blake2b != first


def test_the_manifest_does_not_depend_on_who_was_first(write_histories: Make) -> None:
    forwards, written = write_histories(shards=3, name="forwards")
    backwards = forwards.parent / "backwards"
    line = HistoryStore.open(forwards).manifest[0]
    spaces = {name: record.space for name, record in line.fields.items()}
    for index in (2, 0, 1):
        meta = {name: getattr(line, name) for name in ("env", "env_version", "split", "source")}
        rest = {name: getattr(line, name) for name in ("source_config", "seed", "learners")}
        from adbench.history.schema import ShardMeta

        both = ShardMeta(**meta, **rest, actors=line.actors, spaces=spaces)
        write_shard(backwards, index, written[index], both)
    assert contents(backwards) == contents(forwards)


def test_several_writers_share_a_folder(arrays_of: Make, meta_of: Make, tmp_path: Path) -> None:
    arrays, meta = arrays_of([[2, 3]]), meta_of()
    writers = [
        threading.Thread(target=write_shard, args=(tmp_path, index, arrays, meta))
        for index in range(12)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(HistoryStore.open(tmp_path).manifest) == 12


def test_what_a_kill_leaves_behind_is_ignored(
    write_histories: Make, arrays_of: Make, meta_of: Make
) -> None:
    folder, _ = write_histories(shards=2)
    (folder / "shard-00002.h5.tmp").write_bytes(b"half a shard")
    (folder / "manifest.jsonl.tmp").write_text('{"schema": 1, "fi')
    (folder / "shard-00003.h5").write_bytes(b"renamed, but not yet listed")
    assert len(HistoryStore.open(folder).manifest) == 2
    assert set(intact_shards(folder)[0]) == {"shard-00000.h5", "shard-00001.h5"}
    write_shard(folder, 2, arrays_of([[1, 2]]), meta_of())
    write_shard(folder, 3, arrays_of([[1, 2]]), meta_of())
    assert sorted(contents(folder)) == [
        "manifest.jsonl", "shard-00000.h5", "shard-00001.h5", "shard-00002.h5", "shard-00003.h5",
    ]  # fmt: skip
    assert HistoryStore.open(folder).num_histories == 10


def test_collecting_a_damaged_shard_again_completes_the_folder(
    write_histories: Make, meta_of: Make
) -> None:
    folder, written = write_histories(shards=2)
    whole = contents(folder)
    (folder / "shard-00001.h5").write_bytes(whole["shard-00001.h5"][:-1])
    assert [damage.file for damage in intact_shards(folder)[1]] == ["shard-00001.h5"]
    write_shard(folder, 1, written[1], meta_of())
    assert contents(folder) == whole


def test_nothing_is_intact_where_nothing_was_collected(tmp_path: Path) -> None:
    assert intact_shards(tmp_path / "nowhere") == ({}, ())


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("action", lambda a: a + 4, "expected 0 to 4"),
        ("action", lambda a: a - 1, "holds -1"),
        ("observation", lambda a: a + 1, "observation holds 9"),
        ("observation", lambda a: a * 100, "does not fit u1"),
        ("observation", lambda a: a + 0.5, "fractions"),
        ("observation", lambda a: a[:, :, :1], "shape"),
        ("reward", lambda a: a * np.nan, "not finite"),
        ("state/pose", lambda a: a / 0.0, "not finite"),
        ("episode_end", lambda a: a[:, ::-1], "episode"),
        ("episode_end", lambda a: a + 50, "past its length"),
        ("episode_end", lambda a: np.full_like(a, -1), "no episode"),
        ("length", lambda a: a * 0, "length runs from 0"),
        ("length", lambda a: a[:1], "shape"),
        ("terminated", lambda a: a ^ True, "say the opposite"),
        ("truncated", lambda a: a * 2, "truncated holds 2"),
        ("learner_seed", lambda a: a.astype(str), "numbers"),
        ("task", lambda a: a.astype(object), "numbers"),
        ("action", lambda a: a[..., None], "one number"),
    ],
)  # fmt: skip
def test_an_array_that_breaks_the_contract_is_not_written(
    field: str, change: Callable[[np.ndarray], np.ndarray], message: str,
    arrays_of: Make, meta_of: Make, tmp_path: Path,
) -> None:  # fmt: skip
    arrays = arrays_of([[2, 3, 4], [4, 1, 2]])
    with np.errstate(all="ignore"):
        arrays[field] = change(arrays[field])
    with pytest.raises(ContractError, match=message):
        write_shard(tmp_path / "new", 0, arrays, meta_of())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("extra", "unknown field 'extra'"), ("state/../x", "unknown"), ("state/a/b", "unknown")],
)
def test_a_field_that_the_schema_does_not_know_is_not_written(
    name: str, message: str, arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[2, 3]])
    arrays[name] = arrays["reward"]
    with pytest.raises(ContractError, match=message):
        write_shard(tmp_path, 0, arrays, meta_of())


@pytest.mark.parametrize("name", ["action", "length", "final_observation", "learner_seed"])
def test_a_missing_field_is_named(
    name: str, arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[2, 3]])
    del arrays[name]
    with pytest.raises(ContractError, match=name):
        write_shard(tmp_path, 0, arrays, meta_of())


def test_two_environments_do_not_share_a_folder(
    write_histories: Make, arrays_of: Make, meta_of: Make
) -> None:
    folder, _ = write_histories(shards=1)
    before = contents(folder)
    for other in ({"env": "maze"}, {"env_version": 4}, {"split": "validation"}):
        with pytest.raises(HistoryError, match="Choose another folder"):
            write_shard(folder, 1, arrays_of([[2]]), meta_of(**other))
    assert contents(folder) == before


def test_a_shard_larger_than_a_gigabyte_is_refused(
    arrays_of: Make, meta_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adbench.history.writer.SHARD_BYTES_MAX", 100)
    with pytest.raises(UsageError, match=r"at most 100.*collect\.shards"):
        write_shard(tmp_path, 0, arrays_of([[2]]), meta_of())


@contextmanager
def files_no_larger_than(num_bytes: int) -> Iterator[None]:
    """The kernel refuses writes past a size, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_bytes", [0, 100, 3000, 10_000, 40_000])
def test_a_disk_that_fills_up_leaves_everything_as_it_was(
    room_bytes: int, write_histories: Make, arrays_of: Make, meta_of: Make
) -> None:
    folder, _ = write_histories(shards=2)
    before = contents(folder)
    large = arrays_of([[20] * 20] * 5)
    with files_no_larger_than(room_bytes):
        try:
            write_shard(folder, 1, large, meta_of())
        except ResourceError as caught:
            message = str(caught)
    assert "disk is full" in message
    assert contents(folder) == before
    write_shard(folder, 1, large, meta_of())
    assert HistoryStore.open(folder).num_histories == 9


def test_a_disk_with_too_little_room_is_refused_with_both_numbers(
    arrays_of: Make, meta_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 12_345})
    monkeypatch.setattr("adbench.history.writer.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(ResourceError, match=r"needs [\d,]+ bytes .* has 12,345 free"):
        write_shard(tmp_path / "new", 0, arrays_of([[2]]), meta_of())
    assert contents(tmp_path / "new") == {}


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="could not be written"):
        write_shard(tmp_path / "file" / "histories", 0, arrays_of([[2]]), meta_of())


def test_a_link_under_the_name_of_a_half_written_shard_is_not_followed(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "histories"
    folder.mkdir()
    for name in ("shard-00000.h5.tmp", "manifest.jsonl.tmp"):
        (folder / name).symlink_to(precious)
    write_shard(folder, 0, arrays_of([[2]]), meta_of())
    assert precious.read_text() == "precious"
    assert HistoryStore.open(folder).num_histories == 1


def frames_of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    histories, steps = arrays["action"].shape
    episodes = arrays["episode_end"].shape[1]
    frames = {name: array for name, array in arrays.items() if "observation" not in name}
    frames["frame"] = rng.integers(0, 4, (histories, steps, 32, 32, 3), dtype=np.uint8)
    frames["final_observation"] = rng.integers(
        0, 4, (histories, episodes, 32, 32, 3), dtype=np.uint8
    )
    return frames


def frame_meta(meta_of: Make) -> Any:
    image = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    spaces = spaces_of(image, gymnasium.spaces.Discrete(5))
    return meta_of(spaces={**spaces, "frame": spaces["observation"]})


def test_frames_are_compressed_and_come_back_bit_for_bit(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    pytest.importorskip("hdf5plugin")
    frames = frames_of(arrays_of([[30, 170, 3], [40, 2, 1]]))
    line = write_shard(tmp_path, 0, frames, frame_meta(meta_of))
    assert line.bytes < 0.6 * sum(array.nbytes for array in frames.values())
    store = HistoryStore.open(tmp_path)
    window = store.window(0, 150, 53)["frame"]
    assert window.dtype == torch.uint8
    np.testing.assert_array_equal(window.numpy(), frames["frame"][0, 150:203])


def test_a_frame_that_cannot_be_decompressed_is_an_error_of_ours(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    pytest.importorskip("hdf5plugin")
    write_shard(tmp_path, 0, frames_of(arrays_of([[30]])), frame_meta(meta_of))
    path = tmp_path / "shard-00000.h5"
    with h5py.File(path) as file:
        chunk = file["frame"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[chunk.byte_offset : chunk.byte_offset + 64] = bytes(64)
    path.write_bytes(raw)
    with pytest.raises(HistoryError, match="frames cannot be read"):
        HistoryStore.open(tmp_path, verify=False).window(0, 0, 2)
    with pytest.raises(HistoryError, match="altered"):
        HistoryStore.open(tmp_path)


@pytest.mark.parametrize(
    "kept", [{"compression": "gzip"}, {}, {"compression": 32015, "shuffle": True}]
)
def test_frames_stored_in_another_way_are_refused(
    kept: dict[str, Any], arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    pytest.importorskip("hdf5plugin")
    frames = frames_of(arrays_of([[30]]))
    write_shard(tmp_path, 0, frames, frame_meta(meta_of))
    path = tmp_path / "shard-00000.h5"
    with h5py.File(path, "r+") as file:
        del file["frame"]
        file.create_dataset("frame", data=frames["frame"], **kept)
    line = json.loads((tmp_path / "manifest.jsonl").read_text())
    line["bytes"] = path.stat().st_size
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line))
    with pytest.raises(HistoryError, match=r"'frame' is (stored through|not stored in chunks)"):
        HistoryStore.open(tmp_path, verify=False)


def test_frames_without_the_codec_say_how_to_get_it(
    arrays_of: Make, meta_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(ResourceError, match="pip install"):
        write_shard(tmp_path, 0, frames_of(arrays_of([[3]])), frame_meta(meta_of))
    assert contents(tmp_path) == {}


def test_histories_of_a_world_that_renders_again_hold_states_alone(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = {k: v for k, v in arrays_of([[2, 3]]).items() if "observation" not in k}
    meta = meta_of(spaces={"action": meta_of().spaces["action"]})
    write_shard(tmp_path, 0, arrays, meta)
    assert HistoryStore.open(tmp_path).window(0, 1, 2)["state/pose"].shape == (2, 3)


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        (gymnasium.spaces.Discrete(5), "u1"),
        (gymnasium.spaces.Discrete(256), "u1"),
        (gymnasium.spaces.Discrete(257), "i2"),
        (gymnasium.spaces.Discrete(3, start=-1), "i1"),
        (gymnasium.spaces.Discrete(2**20), "i4"),
        (gymnasium.spaces.MultiDiscrete([9, 300]), "i2"),
        (gymnasium.spaces.MultiBinary(4), "u1"),
        (gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8), "u1"),
        (gymnasium.spaces.Box(0, 60_000, (2,), np.uint16), "i4"),
        (gymnasium.spaces.Box(np.array([-5, 0]), np.array([5, 9]), (2,), np.int64), "i1"),
        (gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32), "f4"),
        (gymnasium.spaces.Box(0.0, 1.0, (), np.float64), "f8"),
    ],
)
def test_symbols_are_stored_in_the_narrowest_type_that_holds_them(
    space: gymnasium.Space[Any], dtype: str
) -> None:
    record = space_record(space)
    assert storage_dtype(record) == dtype
    again = FieldRecord.model_validate_json(
        FieldRecord(dtype="u1", shape=(1, 1, *record.shape), space=record).model_dump_json(),
        strict=True,
    )
    assert again.space == record


def test_bounds_that_differ_by_element_are_held_element_by_element(
    arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = arrays_of([[2, 3]])
    box = gymnasium.spaces.Box(np.array([0, 0]), np.array([8, 20]), (2,), np.int64)
    spaces = spaces_of(box, gymnasium.spaces.Discrete(5))
    arrays["observation"][0, 1] = (8, 20)
    write_shard(tmp_path, 0, arrays, meta_of(spaces=spaces))
    arrays["observation"][0, 1] = (9, 20)
    with pytest.raises(ContractError, match="observation holds 9"):
        write_shard(tmp_path, 0, arrays, meta_of(spaces=spaces))


def test_a_space_that_histories_cannot_hold_is_refused() -> None:
    for space in (gymnasium.spaces.Text(4), gymnasium.spaces.MultiDiscrete(np.full((2, 2), 2))):
        with pytest.raises(ContractError, match="histories hold"):
            spaces_of(space, gymnasium.spaces.Discrete(2))


def test_tensors_and_dictionaries_become_named_fields() -> None:
    assert list(named_arrays("state", {"pose": torch.zeros(2), "key": torch.ones(2)})) == [
        "state/pose", "state/key",
    ]  # fmt: skip
    assert named_arrays("observation", torch.zeros(2))["observation"].shape == (2,)


def test_a_store_can_be_used_after_a_fork(write_histories: Make) -> None:
    folder, written = write_histories(shards=1)
    store = HistoryStore.open(folder)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, store.window(0, 0, 2)["action"].numpy().tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == written[0]["action"][0, :2].astype(np.uint8).tobytes()
    os.close(reader)
    os.close(writer)


def test_the_line_of_a_shard_survives_json(write_histories: Make) -> None:
    folder, _ = write_histories(shards=1, dict_space=True)
    line = HistoryStore.open(folder).manifest[0]
    assert ManifestLine.model_validate_json(line.to_json(), strict=True) == line
