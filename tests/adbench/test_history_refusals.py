"""A history folder that is damaged, altered, of another kind or made to harm is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from adbench.errors import ContractError, HistoryError
from adbench.history.reader import HistoryStore, intact_shards
from adbench.history.writer import write_shard

Make = Callable[..., Any]
Line = dict[str, Any]

SECRET = b"root:secret:0:0" * 4096


def edit_line(folder: Path, change: Callable[[Line], None], *, number: int = 0) -> None:
    """Change a line of the manifest."""
    lines = [json.loads(text) for text in (folder / "manifest.jsonl").read_text().splitlines()]
    change(lines[number])
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def reseal(folder: Path, name: str = "shard-00000.h5") -> None:
    """Make the manifest vouch for the shard as it is now, as somebody who means harm would."""
    raw = (folder / name).read_bytes()
    digest = hashlib.blake2b(raw, digest_size=32).hexdigest()
    edit_line(folder, lambda line: line.update(bytes=len(raw), blake2b=digest))


def refusal(folder: Path, **expected: Any) -> str:
    """Why the first of two shards is refused; the other one must stay usable."""
    store = HistoryStore.open(folder, **expected)
    assert [line.file for line in store.manifest] == ["shard-00001.h5"]
    assert store.num_histories == 4
    (damage,) = store.damaged
    return str(damage)


@pytest.fixture(autouse=True)
def no_test_may_hang() -> Iterator[None]:
    """A crafted file may make its reader wait for ever."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hung"))
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="nowhere is not a folder"):
        HistoryStore.open(tmp_path / "nowhere")


def test_an_empty_folder_has_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"manifest\.jsonl is not there"):
        HistoryStore.open(tmp_path)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_manifest_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(text)
    with pytest.raises(HistoryError, match=r"no usable shard|is empty"):
        HistoryStore.open(tmp_path)


def test_the_manifest_must_be_a_plain_file(write_histories: Make) -> None:
    folder, _ = write_histories(shards=1)
    (folder / "manifest.jsonl").rename(folder.parent / "elsewhere")
    (folder / "manifest.jsonl").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(HistoryError, match="not a plain file"):
        HistoryStore.open(folder)
    (folder / "manifest.jsonl").unlink()
    (folder / "manifest.jsonl").mkdir()
    with pytest.raises(HistoryError, match="not a plain file"):
        HistoryStore.open(folder)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"env": "maze"}, "holds histories of 'grid', not of 'maze'"),
        ({"env": "grid", "env_version": 4}, "version 3; this is version 4"),
    ],
)
def test_histories_of_another_world_are_refused(
    expected: Line, message: str, write_histories: Make
) -> None:
    folder, _ = write_histories()
    with pytest.raises(HistoryError, match=message):
        HistoryStore.open(folder, **expected)
    with pytest.raises(HistoryError, match=message):
        intact_shards(folder, **expected)


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1]])
def test_another_schema_is_refused_before_anything_is_made_of_it(
    version: object, write_histories: Make, arrays_of: Make, meta_of: Make
) -> None:
    folder, _ = write_histories()
    edit_line(folder, lambda line: line.update(schema=version))
    before = (folder / "manifest.jsonl").read_bytes()
    with pytest.raises(HistoryError, match="reads schema 1"):
        HistoryStore.open(folder)
    with pytest.raises(HistoryError, match="reads schema 1"):
        write_shard(folder, 5, arrays_of([[2]]), meta_of())
    assert (folder / "manifest.jsonl").read_bytes() == before
    assert not (folder / "shard-00005.h5").exists()


def test_a_truncated_shard_is_named_and_the_rest_is_used(write_histories: Make) -> None:
    folder, _ = write_histories()
    path = folder / "shard-00000.h5"
    path.write_bytes(path.read_bytes()[:-100])
    assert "shard-00000.h5 is truncated" in refusal(folder)


def test_an_altered_shard_is_named_wherever_a_bit_is_flipped(write_histories: Make) -> None:
    folder, _ = write_histories()
    path = folder / "shard-00000.h5"
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 9).astype(int):
        altered = bytearray(whole)
        altered[place] ^= 4
        path.write_bytes(altered)
        assert "shard-00000.h5 is altered" in refusal(folder)
    path.write_bytes(whole + b"\0")
    assert "shard-00000.h5 is altered" in refusal(folder)


def test_a_shard_that_is_gone_is_named(write_histories: Make) -> None:
    folder, _ = write_histories()
    (folder / "shard-00000.h5").unlink()
    assert refusal(folder) == "shard-00000.h5 is listed in the manifest, but is not there"


def test_a_shard_that_is_no_file_is_named(write_histories: Make) -> None:
    folder, _ = write_histories()
    path = folder / "shard-00000.h5"
    path.unlink()
    path.mkdir()
    assert "shard-00000.h5 is not a plain file" in refusal(folder)
    path.rmdir()
    os.mkfifo(path)
    assert "shard-00000.h5 is not a plain file" in refusal(folder)


def test_no_usable_shard_is_an_error_that_names_them(write_histories: Make) -> None:
    folder, _ = write_histories()
    for name in ("shard-00000.h5", "shard-00001.h5"):
        (folder / name).write_bytes(b"")
    with pytest.raises(HistoryError, match=r"shard-00000\.h5 is truncated.*shard-00001\.h5"):
        HistoryStore.open(folder)


def test_a_line_cut_short_is_named_and_the_rest_is_used(write_histories: Make) -> None:
    folder, _ = write_histories()
    first, second = (folder / "manifest.jsonl").read_text().splitlines()
    (folder / "manifest.jsonl").write_text(f"{first[: len(first) // 2]}\n{second}\n")
    assert refusal(folder) == "manifest.jsonl, line 1, is not a shard's record in JSON"


def test_a_shard_listed_twice_is_used_once(write_histories: Make) -> None:
    folder, _ = write_histories(shards=1)
    text = (folder / "manifest.jsonl").read_text()
    (folder / "manifest.jsonl").write_text(text + text)
    store = HistoryStore.open(folder)
    assert store.num_histories == 4
    assert "second time" in str(store.damaged[0])


@pytest.mark.parametrize("kind", ["other observations", "other split", "other source"])
def test_a_shard_unlike_the_first_is_left_out(kind: str, write_histories: Make) -> None:
    folder, _ = write_histories(shards=2)
    other, _ = write_histories(
        shards=2, name="other", dict_space=kind == "other observations",
        **{"other split": {"split": "test"}, "other source": {"source": "ucb"}}.get(kind, {}),
    )  # fmt: skip
    (other / "shard-00001.h5").rename(folder / "shard-00001.h5")
    first = (folder / "manifest.jsonl").read_text().splitlines()[0]
    second = (other / "manifest.jsonl").read_text().splitlines()[1]
    (folder / "manifest.jsonl").write_text(f"{first}\n{second}\n")
    store = HistoryStore.open(folder)
    assert [line.file for line in store.manifest] == ["shard-00000.h5"]
    assert "shard-00000.h5" in str(store.damaged[0])


@pytest.mark.parametrize(
    "name",
    ["../shard-00000.h5", "/etc/passwd", "a/shard-00000.h5", "..", "shard-00000.h5/../../x"],
)
def test_a_path_that_leads_outside_the_folder_is_refused(name: str, write_histories: Make) -> None:
    folder, _ = write_histories()
    (folder / "shard-00000.h5").rename(folder.parent / "shard-00000.h5")
    edit_line(folder, lambda line: line.update(file=name))
    assert refusal(folder).startswith(f"{name} points outside its folder")


@pytest.mark.parametrize(
    "name", ["", "shard-0.h5", "shard-00000.h5\0", "manifest.jsonl", "~", "nul"]
)
def test_a_name_that_is_no_shards_name_is_refused(name: str, write_histories: Make) -> None:
    folder, _ = write_histories()
    edit_line(folder, lambda line: line.update(file=name))
    assert "is not a shard's name" in refusal(folder)


def test_a_shard_that_is_a_symbolic_link_is_refused(write_histories: Make) -> None:
    folder, _ = write_histories()
    (folder / "shard-00000.h5").rename(folder.parent / "elsewhere.h5")
    (folder / "shard-00000.h5").symlink_to(folder.parent / "elsewhere.h5")
    assert "shard-00000.h5 is a symbolic link" in refusal(folder)


def replace_with(
    make: Callable[[h5py.File, np.ndarray], None], name: str
) -> Callable[[Path], None]:
    """Craft a shard in which one field is replaced by something else."""

    def craft(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            array = file[name][()]
            del file[name]
            make(file, array)

    return craft


def external_storage(file: h5py.File, array: np.ndarray) -> None:
    secret = Path(file.filename).parent.parent / "secret"
    secret.write_bytes(SECRET)
    file.create_dataset(
        "action", array.shape, array.dtype, external=[(str(secret), 0, array.nbytes)]
    )


def external_link(file: h5py.File, array: np.ndarray) -> None:
    elsewhere = Path(file.filename).parent.parent / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as other:
        other["action"] = array
    file["action"] = h5py.ExternalLink(str(elsewhere), "action")


def soft_link(file: h5py.File, array: np.ndarray) -> None:
    file["action"] = h5py.SoftLink("/terminated")


def virtual(file: h5py.File, array: np.ndarray) -> None:
    elsewhere = Path(file.filename).parent.parent / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as other:
        other["action"] = array
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[:] = h5py.VirtualSource(str(elsewhere), "action", array.shape)
    file.create_virtual_dataset("action", layout)


def virtual_without_end(file: h5py.File, array: np.ndarray) -> None:
    # Asking for the shape of such a data set opens its sources; here a pipe without a writer.
    pipe = Path(file.filename).parent.parent / "pipe-0"
    os.mkfifo(pipe)
    whole = h5py.h5s.create_simple((1, array.shape[1]), (h5py.h5s.UNLIMITED, array.shape[1]))
    whole.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), block=(1, array.shape[1]))
    source = h5py.h5s.create_simple((1, array.shape[1]))
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_virtual(whole, str(pipe.with_name("pipe-%b")).encode(), b"x", source)
    h5py.h5d.create(file.id, b"action", h5py.h5t.STD_U8LE, whole, created)


def compressed(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array, compression="gzip")


def chunked(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array, chunks=array.shape)


def resizable(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array, maxshape=(None, array.shape[1]))


def strings(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", array.shape, h5py.string_dtype())


def ragged(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", array.shape, h5py.vlen_dtype(np.int32))


def references(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", array.shape, h5py.ref_dtype)


def records(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", array.shape, np.dtype([("a", "u1")]))


def big_endian(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array.astype(">i2"))


def other_dtype(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array.astype("i1"))


def other_shape(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", data=array[:, :-1])


def never_written(file: h5py.File, array: np.ndarray) -> None:
    file.create_dataset("action", array.shape, array.dtype)


def a_group(file: h5py.File, array: np.ndarray) -> None:
    file.create_group("action")


def a_named_type(file: h5py.File, array: np.ndarray) -> None:
    file["action"] = np.dtype("u1")


def gone(file: h5py.File, array: np.ndarray) -> None:
    pass


def one_more(file: h5py.File, array: np.ndarray) -> None:
    file["action"] = array
    file["extra"] = array


def groups_in_circles(file: h5py.File, array: np.ndarray) -> None:
    file["action"] = array
    file["state/again"] = file["/"]


def a_thousand_groups(file: h5py.File, array: np.ndarray) -> None:
    for number in range(1000):
        file.create_group(f"group{number}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external_storage, "'action' lies in external storage"),
        (external_link, "holds a link 'action' that points elsewhere"),
        (soft_link, "holds a link 'action' that points elsewhere"),
        (virtual, "'action' is a virtual data set"),
        (virtual_without_end, "'action' is a virtual data set"),
        (compressed, "'action' is stored through filters"),
        (chunked, "'action' is not stored in one piece"),
        (resizable, "'action' is not stored in one piece"),
        (strings, "'action' is of type not a plain number"),
        (ragged, "'action' is of type not a plain number"),
        (references, "'action' is of type not a plain number"),
        (records, "'action' is of type not a plain number"),
        (big_endian, "'action' is of type >i2"),
        (other_dtype, "'action' is of type int8, the manifest says u1"),
        (other_shape, "'action' has shape"),
        (never_written, "'action' does not lie inside the file"),
        (a_group, "holds an unknown object 'action'"),
        (a_named_type, "holds an unknown object 'action'"),
        (gone, "has no field 'action', which the manifest lists"),
        (one_more, "holds an unknown object 'extra'"),
        (groups_in_circles, "holds an unknown object 'state/again'"),
        (a_thousand_groups, "holds 10"),
    ],
)
def test_a_file_made_to_reach_outside_itself_or_to_confuse_is_refused(
    make: Callable[[h5py.File, np.ndarray], None], message: str, write_histories: Make
) -> None:
    folder, _ = write_histories()
    replace_with(make, "action")(folder / "shard-00000.h5")
    reseal(folder)
    assert message in refusal(folder)


def test_what_a_crafted_file_points_at_is_never_opened(
    write_histories: Make, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    control.write_bytes(b"x")
    os.utime(control, (1, 1))
    control.read_bytes()
    if control.stat().st_atime == 1:
        pytest.skip("this file system does not note when a file is read")
    for number, make in enumerate((external_storage, external_link, virtual)):
        folder, _ = write_histories(name=f"{number}/histories")
        replace_with(make, "action")(folder / "shard-00000.h5")
        reseal(folder)
        bait = next(path for path in folder.parent.iterdir() if path.is_file())
        os.utime(bait, (1, 1))
        assert refusal(folder)
        assert bait.stat().st_atime == 1


@pytest.mark.parametrize("raw", [b"", b"\x89HDF\r\n\x1a\n", b"not HDF5 at all" * 99, bytes(4096)])
def test_a_file_that_is_not_hdf5_is_refused_even_where_the_checksum_fits(
    raw: bytes, write_histories: Make
) -> None:
    folder, _ = write_histories()
    (folder / "shard-00000.h5").write_bytes(raw)
    reseal(folder)
    assert refusal(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("action", 5, "action holds 5, expected 0 to 4"),
        ("observation", 9, "observation holds 9, expected 0 to 8"),
        ("terminated", 1, "say the opposite"),
        ("truncated", 7, "truncated holds 7"),
        ("reward", np.nan, "reward holds numbers that are not finite"),
        ("reward", np.inf, "reward holds numbers that are not finite"),
        ("episode_end", 10**9, "does not increase"),
        ("episode_end", -7, "no episode"),
        ("length", 10**9, "length runs from"),
        ("length", -1, "length runs from -1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_even_where_the_checksum_fits(
    field: str, value: float, message: str, write_histories: Make
) -> None:
    folder, _ = write_histories()
    with h5py.File(folder / "shard-00000.h5", "r+") as file:
        file[field][(0,) * file[field].ndim] = value
    reseal(folder)
    assert message in refusal(folder)


def test_numbers_in_the_padding_do_not_matter(write_histories: Make) -> None:
    folder, written = write_histories()
    with h5py.File(folder / "shard-00000.h5", "r+") as file:
        file["action"][0, int(written[0]["length"][0]) :] = 77
    reseal(folder)
    assert HistoryStore.open(folder).damaged == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bytes",), 10**30),
        (("bytes",), -1),
        (("bytes",), "12"),
        (("blake2b",), "x" * 64),
        (("blake2b",), None),
        (("fields", "action", "shape"), [10**30, 4]),
        (("fields", "action", "shape"), [10**11, 10**11]),
        (("fields", "action", "shape"), [-4, 9]),
        (("fields", "action", "shape"), [0, 9]),
        (("fields", "action", "shape"), [4.0, 9]),
        (("fields", "action", "shape"), []),
        (("fields", "action", "dtype"), "O"),
        (("fields", "action", "dtype"), "u8"),
        (("fields", "action", "dtype"), "f4"),
        (("fields", "action", "space"), None),
        (("fields", "action", "space", "n"), 10**30),
        (("fields", "action", "space", "n"), 0),
        (("fields", "action", "space", "kind"), "python"),
        (("fields", "observation", "space", "nvec"), [9] * 3),
        (("fields", "reward", "dtype"), "f8"),
        (("fields", "episode_end", "shape"), [4, 8, 1]),
        (("fields",), {}),
        (("fields",), []),
        (("fields",), {f"state/{i}": {} for i in range(1000)}),
        (("seed",), True),
        (("env",), ""),
        (("env",), ["grid"]),
        (("return_curve",), []),
        (("return_curve",), ["nan"]),
        (("unknown",), 1),
        (("source_config",), [[[[]]]]),
    ],
)
def test_a_forged_manifest_is_refused_without_a_large_allocation(
    path: tuple[str, ...], value: object, write_histories: Make
) -> None:
    folder, _ = write_histories()

    def forge(line: Line) -> None:
        for key in path[:-1]:
            line = line[key]
        line[path[-1]] = value

    edit_line(folder, forge)
    assert "line 1" in refusal(folder)


def test_a_field_larger_than_its_file_is_refused(write_histories: Make) -> None:
    folder, _ = write_histories()

    def forge(line: Line) -> None:
        for record in line["fields"].values():
            record["shape"][0] = 10**9

    edit_line(folder, forge)
    assert "has shape" in refusal(folder)


def test_samples_of_steps_that_are_not_there_are_refused(write_histories: Make) -> None:
    for field, number in (("sample/history", 4), ("sample/history", -1), ("sample/step", 10**6)):
        folder, _ = write_histories(states=True, name=f"{field.replace('/', '-')}{number}")
        with h5py.File(folder / "shard-00000.h5", "r+") as file:
            file[field][2] = number
        reseal(folder)
        assert "sample" in refusal(folder)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("renderer",), None, "sample frames without the renderer that drew them"),
        (("renderer", "height"), 5, "sample frames are 4 x 6, the renderer's 5 x 6"),
        (("renderer", "device"), "abacus", "renderer.device"),
        (("renderer", "samples"), 0, "renderer.samples"),
        (("fields", "sample/frame", "shape"), [5, 4, 18], "its space is of shape [4, 6, 3]"),
        (("fields", "sample/frame", "shape"), [6, 4, 6, 3], "has shape [5], expected it to begin"),
        (("fields", "sample/frame", "dtype"), "f4", "is of type f4, expected u1"),
        (("fields", "sample/step", "shape"), [5, 1], "one number sample by sample"),
        (("fields", "sample/other"), {"dtype": "u1", "shape": [5]}, "unknown field 'sample/other'"),
    ],
)
def test_a_forged_record_of_samples_is_refused(
    path: tuple[str, ...], value: object, says: str, write_histories: Make
) -> None:
    folder, _ = write_histories(states=True)

    def forge(line: Line) -> None:
        for key in path[:-1]:
            line = line[key]
        line[path[-1]] = value

    edit_line(folder, forge)
    assert says in refusal(folder)


@pytest.mark.parametrize("without", ["sample/step", "state", "colours"])
def test_half_of_the_samples_cannot_be_written(
    without: str, arrays_of: Make, meta_of: Make, tmp_path: Path
) -> None:
    arrays = {
        name: values
        for name, values in arrays_of([[2, 3], [4]], states=True).items()
        if not name.startswith(without)
    }
    if without == "state":
        arrays["observation"] = np.zeros((2, 8, 2), int)
        arrays["final_observation"] = np.zeros((2, 2, 2), int)
    if without == "colours":
        arrays["sample/frame"] = arrays["sample/frame"][..., 0]
    expected = r"beside the other samples|without the states|expected \[P, Y, X, C\]"
    with pytest.raises(ContractError, match=expected):
        write_shard(tmp_path, 0, arrays, meta_of(states=True))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema": 1' + "0" * 10_000 + "}", "null", "1", '"x"']
)
def test_json_made_to_choke_a_parser_is_refused(text: str, write_histories: Make) -> None:
    folder, _ = write_histories()
    second = (folder / "manifest.jsonl").read_text().splitlines()[1]
    (folder / "manifest.jsonl").write_text(f"{text}\n{second}\n")
    assert "is not a shard's record in JSON" in refusal(folder)


def test_a_manifest_in_another_encoding_is_refused(write_histories: Make) -> None:
    folder, _ = write_histories(shards=1)
    text = (folder / "manifest.jsonl").read_text()
    (folder / "manifest.jsonl").write_bytes(text.encode("utf-16"))
    with pytest.raises(HistoryError, match="no usable shard"):
        HistoryStore.open(folder)


def test_without_verifying_an_altered_number_goes_unnoticed_but_a_wrong_size_does_not(
    write_histories: Make,
) -> None:
    folder, _ = write_histories()
    with h5py.File(folder / "shard-00000.h5", "r+") as file:
        file["reward"][0, 0] += 1
    assert HistoryStore.open(folder, verify=False).damaged == ()
    with open(folder / "shard-00000.h5", "ab") as file:
        file.write(b"\0")
    assert "altered" in str(HistoryStore.open(folder, verify=False).damaged[0])
