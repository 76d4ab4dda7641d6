"""The format of a history folder: its fields, their axes and types, and the manifest's lines.

H histories, S steps (of the longest), E episodes (of the longest), P sample frames. Fields are
learner-major:

    step       observation | observation/NAME | frame, state/NAME, action, reward,
               terminated, truncated                                               [H, S, ...]
    episode    final_observation | final_observation/NAME, final_state/NAME,
               episode_end                                                         [H, E, ...]
    history    length, task, learner_seed, learner, actor                          [H, ...]
    sample     sample/frame, sample/history, sample/step                           [P, ...]

Sample frames are drawn from some of the states when these are collected, so that whoever draws
them anew can tell whether they look as they did.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from adbench.config import Config
from adbench.history.spaces import Extent, Space

SCHEMA = 1
"""Version of the format. A reader refuses every other one."""

MANIFEST = "manifest.jsonl"
SHARD_BYTES_MAX = 2**30
"""A shard is one unit of work; at a gigabyte a lost one is still redone in minutes."""

Axis = Literal["step", "episode", "history", "sample"]
Dtype = Literal["u1", "i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8"]
"""NumPy's element types, little-endian. u8 is unsigned with 64 bits, for seeds alone."""

_AXES: dict[str, Axis] = {
    **dict.fromkeys(("observation", "state", "frame", "action"), "step"),
    **dict.fromkeys(("reward", "terminated", "truncated"), "step"),
    **dict.fromkeys(("final_observation", "final_state", "episode_end"), "episode"),
    **dict.fromkeys(("length", "task", "learner_seed", "learner", "actor"), "history"),
    "sample": "sample",
}
SAMPLE = ("sample/frame", "sample/history", "sample/step")
FIXED_DTYPES: dict[str, Dtype] = {
    "reward": "f4", "terminated": "u1", "truncated": "u1", "episode_end": "i4", "length": "i4",
    "learner_seed": "u8", "learner": "i4", "actor": "i4", "frame": "u1",
    "sample/frame": "u1", "sample/history": "i4", "sample/step": "i4",
}  # fmt: skip
ONE_AXIS: tuple[Axis, ...] = ("history", "sample")
"""Fields of these have one leading axis, the others two."""
_SCALAR = frozenset(FIXED_DTYPES) - {"frame", "sample/frame"} | {"action"}
_REQUIRED = (
    "action", "reward", "terminated", "truncated", "episode_end", "length", "task", "learner_seed",
)  # fmt: skip
_KEY = re.compile(r"[A-Za-z0-9_\-+]([A-Za-z0-9_\-+. ]{0,62}[A-Za-z0-9_\-+])?")
SHARD_NAME = re.compile(r"shard-[0-9]{5,9}\.h5")


def shard_name(index: int) -> str:
    """File name of a shard: "shard-00000.h5"."""
    return f"shard-{index:05d}.h5"


def axis_of(field: str) -> Axis | None:
    """Whether a field has a value a step, an episode, a history or a sample; none: no such
    field."""
    base, slash, key = field.partition("/")
    if base not in _AXES or (base == "sample" and field not in SAMPLE):
        return None
    if base == "sample":
        return "sample"
    keyed = base in ("observation", "final_observation", "state", "final_state")
    if slash and not (keyed and _KEY.fullmatch(key)):
        return None
    if not slash and base in ("state", "final_state"):
        return None
    return _AXES[base]


class FieldRecord(Config):
    """One field of a shard."""

    dtype: Dtype
    """Element type."""
    shape: Annotated[tuple[Extent, ...], Len(1, 8)]
    """All axes, the first being H (P for samples)."""
    space: Space | None = None
    """What values it holds; none: anything."""

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The element type for NumPy."""
        return np.dtype(f"<{self.dtype}")

    @property
    def num_bytes(self) -> int:
        """Uncompressed size."""
        size = self.numpy_dtype.itemsize
        for extent in self.shape:
            size *= extent
        return size


class Renderer(Config):
    """What draws the frames of histories that store states, and how."""

    name: str
    """The implementation."""
    samples: Annotated[int, Ge(1)]
    """Samples a pixel."""
    height: Annotated[int, Ge(1)]
    """Rows of a frame."""
    width: Annotated[int, Ge(1)]
    """Columns of a frame."""
    world_version: Annotated[int, Ge(0)]
    """Version of what is drawn."""
    device: Literal["cpu", "cuda"]
    """Where it drew; there it draws the same to the bit."""


class ShardMeta(Config):
    """Where a shard's histories come from."""

    env: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Task family."""
    env_version: Annotated[int, Ge(0)]
    """Its version."""
    split: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Which tasks: "train", "validation" or a test set."""
    source: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Source algorithm."""
    source_config: dict[str, JsonValue]
    """Its settings, resolved."""
    seed: Annotated[int, Ge(0), Le(2**64 - 1)]
    """The run's seed."""
    learners: Annotated[int, Ge(1)]
    """Learners in this shard."""
    actors: Annotated[int, Ge(1)]
    """Streams of each of them that were kept."""
    spaces: dict[str, Space] = Field(default_factory=dict, exclude=True)
    """Spaces of fields that have one (`spaces_of`); the manifest has them field by field."""
    renderer: Renderer | None = None
    """What draws the frames; none where nothing is drawn."""


class ManifestLine(ShardMeta):
    """One line of `manifest.jsonl`: one shard, and how to tell that it is whole."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    """The format's version."""
    file: str
    """Its name in this folder."""
    bytes: Annotated[int, Ge(1), Le(2**40)]
    """Its size."""
    blake2b: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """BLAKE2b-256 of the whole file."""
    steps: Annotated[int, Ge(1)]
    """Environment steps in all."""
    return_curve: Annotated[tuple[float, ...], Len(1, 2**24)]
    """Mean return of each episode over the histories that have it."""
    fields: Annotated[dict[str, FieldRecord], Len(1, 256)]
    """Every field."""

    @property
    def histories(self) -> int:
        """H."""
        return self.fields["length"].shape[0]

    def to_json(self) -> str:
        """The line as it stands in the manifest: the version first, for readers that stop there."""
        fields = self.model_dump(mode="json", by_alias=True)
        return json.dumps(
            {"schema": fields.pop("schema"), **fields}, separators=(",", ":"), allow_nan=False
        )

    @model_validator(mode="after")
    def _fields_fit_the_schema(self) -> ManifestLine:
        problem = fields_problem(self.fields) or self._renderer_problem()
        if problem:
            raise ValueError(problem)
        return self

    def _renderer_problem(self) -> str | None:
        if SAMPLE[0] not in self.fields:
            return None
        if self.renderer is None:
            return "sample frames without the renderer that drew them"
        drawn, (height, width) = self.renderer, self.fields[SAMPLE[0]].shape[1:3]
        if (height, width) != (drawn.height, drawn.width):
            return (
                f"sample frames are {height} x {width}, the renderer's "
                f"{drawn.height} x {drawn.width}"
            )
        return None


def fields_problem(fields: dict[str, FieldRecord]) -> str | None:
    """What is wrong with a set of fields, in words; none if they make a shard of this schema."""
    unknown = [name for name in fields if axis_of(name) is None]
    if unknown:
        return f"unknown field {unknown[0]!r}"
    missing = [name for name in _REQUIRED if name not in fields]
    if missing:
        return f"field {missing[0]!r} is missing"
    seen = [name for name in fields if name.split("/")[0] in ("observation", "frame", "state")]
    if not seen:
        return "no observation, frame or state"
    num_histories = fields["length"].shape[0]
    leading = {
        "history": (num_histories,),
        "episode": fields["episode_end"].shape[:2],
        "step": fields["action"].shape[:2],
        "sample": fields[SAMPLE[0]].shape[:1] if SAMPLE[0] in fields else (1,),
    }
    for name, record in fields.items():
        axis = axis_of(name)
        assert axis is not None
        lead = leading[axis]
        if record.shape[: len(lead)] != lead:
            return f"{name} has shape {list(record.shape)}, expected it to begin with {list(lead)}"
        if name in FIXED_DTYPES and record.dtype != FIXED_DTYPES[name]:
            return f"{name} is of type {record.dtype}, expected {FIXED_DTYPES[name]}"
        if record.dtype == "u8" and name != "learner_seed":
            return f"{name} is of type u8, which only learner_seed may be"
        if name in _SCALAR and len(record.shape) != (1 if axis in ONE_AXIS else 2):
            return f"{name} has shape {list(record.shape)}, expected one number {axis} by {axis}"
        if record.space is not None and record.space.shape != record.shape[len(lead) :]:
            inner = list(record.space.shape)
            return f"{name} has shape {list(record.shape)}, but its space is of shape {inner}"
    action = fields["action"]
    if action.space is None or action.space.kind != "discrete" or action.dtype[0] not in "iu":
        return "action must be whole numbers of a discrete space"
    if any(name in fields for name in SAMPLE):
        problem = _sample_problem(fields)
        if problem:
            return problem
    if any("observation" in name for name in fields) or "frame" in fields:
        return _final_observation_problem(fields)
    return None


def _sample_problem(fields: dict[str, FieldRecord]) -> str | None:
    for name in SAMPLE:
        if name not in fields:
            return f"field {name!r} is missing beside the other samples"
    if len(fields[SAMPLE[0]].shape) != 4:
        return f"{SAMPLE[0]} has shape {list(fields[SAMPLE[0]].shape)}, expected [P, Y, X, C]"
    if not any(name.startswith("state/") for name in fields):
        return "sample frames without the states that they were drawn from"
    return None


def _final_observation_problem(fields: dict[str, FieldRecord]) -> str | None:
    for prefix, other in (
        ("observation", "final_observation"),
        ("final_observation", "observation"),
    ):
        for name, record in fields.items():
            base, slash, key = name.partition("/")
            if base != prefix:
                continue
            twin = fields.get(f"{other}{slash}{key}")
            if twin is None and other == "observation" and not slash:
                twin = fields.get("frame")
            if twin is None:
                return f"{name} has no {other}{slash}{key} beside it"
            if (twin.dtype, twin.shape[2:], twin.space) != (
                record.dtype,
                record.shape[2:],
                record.space,
            ):
                return f"{name} and its twin differ in type, shape or space"
    if "frame" in fields and "final_observation" not in fields:
        return "frame has no final_observation beside it"
    if "observation" in fields and any(name.startswith("observation/") for name in fields):
        return "both observation and observation/NAME"
    if "frame" in fields and any(name.split("/")[0] == "observation" for name in fields):
        return "both frame and observation"
    return None
