"""Training curves for Weights & Biases: one run of theirs for a run of ours."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.errors import UsageError

if TYPE_CHECKING:
    from adbench.config import RunConfig


class WandB:
    """Sends lines through the package wandb, whose own settings (WANDB_PROJECT, WANDB_MODE) hold.

    Raises:
        UsageError: wandb is not installed.
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError(
                f"--log wandb needs the package wandb ({error}): "
                "pip install 'algorithm-distillation-bench[wandb]'"
            ) from None
        self._wandb = wandb
        self._run: Any = None
        self._known: set[str] = set()

    def start(self, config: RunConfig, folder: Path) -> None:
        """See `adbench.loggers.Logger`."""
        self._run = self._wandb.init(
            name=folder.name,
            # The same folder goes on with the same run.
            id=blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest(),
            resume="allow",
            dir=str(folder),
            config=config.model_dump(mode="json"),
        )

    def log(self, method: str, seed: int, update: int, values: Mapping[str, Any]) -> None:
        """See `adbench.loggers.Logger`; each training counts its own updates."""
        whose = f"{method}/seed-{seed}"
        if whose not in self._known:
            self._known.add(whose)
            self._run.define_metric(f"{whose}/*", step_metric=f"{whose}/update")
        line = {"update": update, **values}
        self._run.log({f"{whose}/{name}": value for name, value in line.items()})

    def finish(self) -> None:
        """See `adbench.loggers.Logger`."""
        if self._run is not None:
            self._run.finish()
