"""What a run is: frozen records of words and numbers that check themselves.

They touch no device and print nothing. A preset is a function that returns a `RunConfig`; a variant
calls the base and changes fields through `with_`, which validates again. The docstring under a
field is its `--help`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from adbench.errors import ConfigError, unknown_name

Fraction = Annotated[float, Ge(0.0), Le(1.0)]
Probability = Annotated[float, Ge(0.0), Lt(1.0)]
Count = Annotated[int, Ge(1), Le(10**9)]
"""How many of something; the limit keeps products of sizes within what arrays can count."""
Scalar = bool | int | float | str
Where = str | Callable[[tuple[int | str, ...]], str]
_SCALARS = {kind.__name__ for kind in (bool, int, float, str)}

TRAINED_METHODS = ("ad", "ed", "ad-shuffled")
PIXEL_METHODS = ("ad-blind", "sweep")
"""Rows that belong to every report on pixels: does the task ask for sight, or for learning?"""
METHODS = (
    "ad", "ed", "ad-shuffled", "ad-no-reward", "ad-blind", "sweep",
    "source", "source-best", "random", "optimal",
)  # fmt: skip


def with_pixels(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Rows of a report, and `PIXEL_METHODS`, in the order of `METHODS`."""
    return tuple(name for name in METHODS if name in (*methods, *PIXEL_METHODS))


class Config(BaseModel):
    """Base of every configuration record: frozen, no unknown fields, documented field by field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated as if it had been written so.

        Raises:
            ConfigError: an unknown field, or a value out of its range.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).parse({**fields, **changes})

    @classmethod
    def parse(cls, values: dict[str, Any], *, where: Where = "") -> Self:
        """A record from plain values.

        Args:
            values: field names to values; nested records as dictionaries.
            where: what to call the source in an error ("config.toml"), or a function that says it
                of a place in the values ("suite.toml:12").

        Raises:
            ConfigError: names the field, what it got and what it may be.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error, where)) from None


class UserConfig(Config):
    """A record that people write: what they cannot have meant is refused."""

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts true as 1; a file that says `updates = true` is mistaken."""
        kinds = set(_kinds(cls.model_fields[str(info.field_name)].annotation))
        items = value if isinstance(value, (list, tuple)) else (value,)
        if kinds & {int, float} and bool not in kinds and any(isinstance(i, bool) for i in items):
            raise PydanticCustomError("number_type", "Input should be a number, not true or false")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _explain(record: type[Config], error: ValidationError, where: Where) -> str:
    problems = error.errors(include_url=False)
    lines: dict[str, None] = {}  # in order, each once
    for problem in problems:
        place = problem["loc"]
        if any(other["loc"][: len(place)] == place != other["loc"] for other in problems):
            continue  # "too few items", where the one item there is was refused for itself
        start = f"{where(place)}: " if callable(where) else ""
        if place and place[-1] in _SCALARS:  # which of a scalar's types refused it helps nobody
            place = place[:-1]
        path = ".".join(str(part) for part in place)
        if problem["type"] == "extra_forbidden":
            owner = _record_at(record, place[:-1])
            prefix = "".join(f"{part}." for part in place[:-1])
            names = [f"{prefix}{name}" for name in owner.model_fields] if owner else []
            line = str(unknown_name("configuration field", path, names))
        elif problem["type"] == "value_error":  # of ours: it names the values itself
            message = problem["msg"].removeprefix("Value error, ")
            line = f"{path}: {message}" if path else message
        elif place != problem["loc"]:
            line = f"{path}: Input should be a finite number, a text, true or false, got "
            line += repr(problem["input"])
        else:
            got = "" if problem["type"] == "missing" else f", got {problem['input']!r}"
            line = f"{path or record.__name__}: {problem['msg']}{got}"
        lines[f"{start}{line.removesuffix('.')}."] = None
    return (f"{where}: " if where and not callable(where) else "") + "\n".join(lines)


def _record_at(record: type[Config] | None, path: tuple[int | str, ...]) -> type[Config] | None:
    for part in path:
        if isinstance(part, int):  # one of several records of a kind
            continue
        field = record.model_fields.get(part) if record else None
        kinds = _kinds(field.annotation) if field else iter(())
        found = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config))
        record = next(found, None)
    return record


class TasksConfig(UserConfig):
    """Which tasks are learnt from, chosen by and tested on. The three never overlap."""

    split_seed: int = 0
    """Seed of the split into train, validation and test tasks."""
    train: Count | None = None
    """Training tasks; none: all that the split has."""
    validation: Count | None = None
    """Validation tasks, all that tuning and checkpoint choice see; none: all that the split has."""
    test: Count | None = None
    """Tasks of each test set, read by the final evaluation alone; none: all that the split has. A
    test set after the first that has fewer gives all of them."""


class SourceConfig(UserConfig):
    """The reinforcement learner whose histories are distilled."""

    name: str = "q-lambda"
    """Name of a source algorithm (`adbench list` shows them)."""
    settings: dict[str, Scalar] = Field(default_factory=dict)
    """The algorithm's own settings; what is not named keeps the algorithm's default."""
    actors: Count = 1
    """Streams of experience that feed one learner; each is saved as its own history."""
    kept_actors: Count | None = None
    """How many of a learner's streams are distilled; none: all."""

    @model_validator(mode="after")
    def _keeps_no_more_than_it_has(self) -> Self:
        if self.kept_actors is not None and self.kept_actors > self.actors:
            raise ValueError(
                f"kept_actors is {self.kept_actors}, but a learner has {self.actors} actors"
            )
        return self


class CollectConfig(UserConfig):
    """How learning histories are made."""

    learners_per_task: Count = 8
    """Independent learners on each training task."""
    episodes: Count = 100
    """Episodes in which a learner learns; AD is trained on these."""
    expert_episodes: Annotated[int, Ge(0)] = 40
    """Episodes of converged behaviour that follow them, for expert distillation."""
    max_episodes: Count = 1000
    """Where a learner that has not converged is given up; its history is kept as it is."""
    expert_share: Annotated[float, Gt(0.0), Le(1.0)] = 0.9
    """Converged: the mean of the last `expert_episodes` is at least this share of the optimum."""
    shards: Annotated[int, Ge(8)] = 8
    """Files that the histories are spread over; each is one unit of work and at most 1 GB."""
    store_frames: bool = False
    """Store images, compressed, and not what they can be drawn from: for environments that cannot
    draw them anew (needs hdf5plugin)."""

    @model_validator(mode="after")
    def _has_room_for_experts(self) -> Self:
        if self.max_episodes < self.episodes + self.expert_episodes:
            raise ValueError(
                f"max_episodes is {self.max_episodes}, less than episodes + expert_episodes = "
                f"{self.episodes + self.expert_episodes}"
            )
        return self


class ModelConfig(UserConfig):
    """The causal transformer."""

    layout: Literal["transition", "interleaved"] = "transition"
    """One token a step (observation, previous action and previous reward summed), or three tokens
    as in the paper."""
    width: Count = 64
    """Width of the residual stream."""
    layers: Count = 4
    """Transformer blocks."""
    heads: Count = 4
    """Attention heads; must divide the width into even parts."""
    feedforward: Count = 256
    """Hidden width of each block's two-layer network."""
    encoder: Literal["patch", "paper"] = "patch"
    """What reads images: patches and a few convolutions, or the paper's three blocks, which cost
    about forty times as much."""
    positions: Literal["rotary", "learned"] = "rotary"
    """Rotary, or a learned table (as in the paper; only with `train.context = exact`)."""
    norm: Literal["pre", "post"] = "pre"
    """Layer normalisation before each sub-layer, or after the sum (as in the paper)."""
    dropout: Probability = 0.0
    """Dropout on residual branches and embeddings."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of 2 * heads; it is {self.width} with {self.heads} heads"
            )
        return self


class TrainConfig(UserConfig):
    """How the transformer learns from histories."""

    context: Literal["banded", "exact"] = "banded"
    """banded: a query sees the last `window_steps` of its history through a ring cache. exact: as
    in the paper, attention over the last `window_steps` alone, recomputed at each step."""
    window_steps: Annotated[Count, Ge(2)] = 420
    """Transition tokens a query can see (an episode of n steps makes n + 1)."""
    sequence_steps: Annotated[Count, Ge(2)] | None = None
    """Transition tokens in a training row; none: twice `window_steps`, or once if exact."""
    subsample: Count = 1
    """Keep every k-th episode of a history's learning part."""
    batch_sequences: Count = 32
    """Training rows in an update."""
    updates: Count = 1000
    """Gradient updates; every trained row of a run gets as many."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the matrices of the transformer's blocks and AdamW for all else: learns
    from fewer tokens."""
    learning_rate: Annotated[float, Gt(0.0)] = 2e-3
    """Peak learning rate."""
    warmup_updates: Annotated[int, Ge(0)] = 100
    """Updates over which the learning rate rises to its peak."""
    final_learning_rate_fraction: Fraction = 0.1
    """Where the cosine ends, as a share of the peak."""
    beta1: Probability = 0.9
    """Decay of AdamW's first moment."""
    beta2: Probability = 0.95
    """Decay of AdamW's second moment."""
    weight_decay: Annotated[float, Ge(0.0)] = 0.01
    """Decoupled weight decay, on matrices only."""
    gradient_clip: Annotated[float, Gt(0.0)] = 1.0
    """Largest global norm of a gradient."""
    label_smoothing: Probability = 0.0
    """Share of the target spread evenly over all actions."""
    token_mask: Probability = 0.0
    """Probability with which an input token is replaced by a learned blank in training."""
    auxiliary: Literal["none", "inverse-dynamics"] = "none"
    """A second thing for the encoder to learn: to tell from two successive observations which
    action lay between them. The model acts without it."""
    auxiliary_weight: Annotated[float, Gt(0.0)] = 1.0
    """Its loss counts so many times as much as that of the actions to take."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; auto: bfloat16 on GPUs, float32 on CPUs."""
    compile: bool = False
    """Compile the model with torch.compile (needs a C compiler)."""
    checkpoint_updates: Count = 200
    """Updates between checkpoints."""
    choose_best: bool = False
    """Evaluate checkpoints on validation tasks and keep the best; else the last one counts."""

    @property
    def row_steps(self) -> int:
        """Transition tokens in a training row."""
        if self.sequence_steps is not None:
            return self.sequence_steps
        return 2 * self.window_steps if self.context == "banded" else self.window_steps

    @model_validator(mode="after")
    def _rows_train_what_is_rolled_out(self) -> Self:
        if self.sequence_steps is None:
            return self
        if self.context == "banded" and self.sequence_steps < 2 * self.window_steps:
            raise ValueError(
                f"sequence_steps is {self.sequence_steps}, less than 2 * window_steps = "
                f"{2 * self.window_steps}: eviction from the window would never be trained"
            )
        if self.context == "exact" and self.sequence_steps != self.window_steps:
            raise ValueError(
                "with context = exact a training row is window_steps long; leave sequence_steps out"
            )
        return self


class EvaluateConfig(UserConfig):
    """How the frozen transformer is rolled out on held-out tasks."""

    held_out: Literal["test", "validation"] = "test"
    """Tasks that are played. Choose settings on "validation"; whoever chooses by test returns has
    trained on them."""
    episodes: Count = 50
    """Whole episodes that every lane plays."""
    lanes_per_task: Count = 8
    """Independent roll-outs on each held-out task, of every method."""
    action: Literal["sample", "mode"] = "sample"
    """Sample actions at temperature 1, or take the likeliest."""
    source_episodes: Count | None = None
    """Episodes that the source row plays; none: as many as its learners have for learning."""

    def scored(self, test_sets: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the task sets that are played, of a family that has these test sets."""
        return test_sets if self.held_out == "test" else ("validation",)


class RunConfig(UserConfig):
    """One run: a world, a source, a transformer, and the rows it is compared with."""

    env: str
    """Name of a task family (`adbench list`)."""
    env_settings: dict[str, Scalar] = Field(default_factory=dict)
    """The family's own settings, such as the size of its frames; what is not named keeps the
    family's default."""
    preset: str = "custom"
    """Name of the preset that this configuration began from."""
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], Field(min_length=1)] = (0,)
    """Seeds of collection, training and evaluation; each is a whole run of its own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training and evaluation run."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "ad", "ed", "ad-shuffled", "ad-no-reward", "source", "source-best", "random", "optimal",
    )  # fmt: skip
    """Rows of the report; with pixels `ad-blind` and `sweep` belong to them."""
    tasks: TasksConfig = TasksConfig()
    source: SourceConfig = SourceConfig()
    collect: CollectConfig = CollectConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.model.positions == "learned" and self.train.context != "exact":
            raise ValueError(
                "model.positions = learned works with train.context = exact only: "
                "a ring cache runs past any table"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds repeat: {', '.join(map(str, self.seeds))}")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods repeat: {', '.join(self.methods)}")
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(str(unknown_name("method", method, METHODS)))
        for method in ("ad-no-reward", "ad-blind"):
            if method in self.methods and "ad" not in self.methods:
                raise ValueError(f"{method} uses AD's weights; add 'ad' to methods")
        return self

    @property
    def reach_steps(self) -> int:
        """Transition tokens back that information can come from: N (W - 1) + 1 for N layers."""
        layers = self.model.layers if self.train.context == "banded" else 1
        return layers * (self.train.window_steps - 1) + 1
