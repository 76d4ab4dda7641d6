"""Training curves for TensorBoard, in DIR/tensorboard: a run of theirs for each training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.errors import UsageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from adbench.config import RunConfig


class TensorBoard:
    """Writes event files that `tensorboard --logdir DIR/tensorboard` shows.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                f"--log tensorboard needs TensorBoard ({error}): "
                "pip install 'algorithm-distillation-bench[tensorboard]'"
            ) from None
        self._writer_of = SummaryWriter
        self._folder = Path()
        self._writers: dict[tuple[str, int], SummaryWriter] = {}

    def start(self, config: RunConfig, folder: Path) -> None:
        """See `adbench.loggers.Logger`."""
        self._folder = folder / "tensorboard"

    def log(self, method: str, seed: int, update: int, values: Mapping[str, Any]) -> None:
        """See `adbench.loggers.Logger`."""
        if (method, seed) not in self._writers:
            # What a killed process wrote beyond its last checkpoint is hidden by purging.
            self._writers[method, seed] = self._writer_of(
                str(self._folder / f"{method}-seed-{seed}"), purge_step=update
            )
        writer = self._writers[method, seed]
        for name, value in values.items():
            if isinstance(value, int | float) and math.isfinite(value):
                writer.add_scalar(name, value, update)

    def finish(self) -> None:
        """See `adbench.loggers.Logger`."""
        for writer in self._writers.values():
            writer.close()
