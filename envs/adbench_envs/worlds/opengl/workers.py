"""Processes that draw with MiniWorld for those that may not: one OpenGL context each.

They are started when first asked to draw, as programs of their own and not by `multiprocessing`,
so a script needs no guard and nothing is forked. They end with their owner, even if it is killed.

N poses, B bodies, Y rows and X columns of a frame.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError, UsageError
from adbench_envs.worlds.opengl.libraries import require, settings
from adbench_envs.worlds.opengl.painter import FRAMES, READY, REFUSAL
from adbench_envs.worlds.world import World
from adbench_kernels.ray_casting import Disc, Picture

MOST_WORKERS = 8
FRAMES_A_WORKER = 64
"""A batch of fewer is not worth another process: its start takes as long as hundreds of frames."""

PROGRAM = ("-P", "-m", "adbench_envs.worlds.opengl.painter")
"""What Python runs; without the folder that it was started in among the modules."""

_LAST_WORDS = 2000


class Painters:
    """Frames of worlds, drawn by MiniWorld in other processes.

    It may be copied into another process, by pickle or by fork, and starts its own workers there.

    Args:
        worlds: what is drawn.
        frame: Y and X.
        samples: a pixel.

    Raises:
        UsageError: something that MiniWorld needs is missing here, or a world has parts that move
            and are no boxes.
    """

    def __init__(self, worlds: tuple[World, ...], *, frame: tuple[int, int], samples: int) -> None:
        require()
        self.frame, self.samples = frame, samples
        self.bodies = _bodies(worlds)
        self._scene = _described(worlds, frame, samples, self.bodies)
        self._staff: list[_Worker] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def draw(
        self,
        poses: npt.NDArray[np.float32],
        *,
        worlds: npt.NDArray[Any] | None = None,
        bodies: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Frames, uint8 [N, Y, X, 3].

        Args:
            poses: x, z, yaw; [N, 3].
            worlds: number of each one's world, [N]; none: the first.
            bodies: x, y, z, yaw of each body, [N, B, 4]; none: there are none.

        Raises:
            AdbenchError: a worker died; names it. The next call starts others.
            UsageError: a worker cannot draw here.
        """
        world = np.zeros(len(poses)) if worlds is None else worlds
        columns = [world[:, None], poses]
        if bodies is not None:
            columns.append(bodies.reshape(len(poses), -1))
        rows = np.concatenate(columns, axis=1).astype(np.float32)
        with self._lock:
            return self._share_out(rows)

    def close(self) -> None:
        """End the workers; the next call of `draw` starts others."""
        staff, self._staff = self._staff, []
        for worker in staff:
            worker.end()

    def _share_out(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        parts = np.array_split(rows, len(self._workers(len(rows))))
        try:
            for worker, part in zip(self._staff, parts, strict=False):
                worker.ask(part)
            answers = [
                worker.answer((len(part), *self.frame, 3))
                for worker, part in zip(self._staff, parts, strict=False)
            ]
        except BaseException:
            # What the others still have to say would be taken for an answer to the next question.
            self.close()
            raise
        return np.concatenate(answers)

    def _workers(self, frames: int) -> list[_Worker]:
        """As many as so many frames are worth."""
        if self._owner != os.getpid():
            # Forked: those of the parent answer to it alone.
            self._owner, self._staff = os.getpid(), []
        wanted = min(_cores(), MOST_WORKERS, max(1, frames // FRAMES_A_WORKER))
        new = [_Worker(len(self._staff) + k) for k in range(wanted - len(self._staff))]
        self._staff += new
        try:
            for worker in new:
                worker.describe(self._scene)
            for worker in new:
                worker.greet()
        except BaseException:
            self.close()
            raise
        return self._staff[:wanted]

    def __getstate__(self) -> dict[str, Any]:
        return {name: kept for name, kept in vars(self).items() if name not in ("_staff", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._staff, self._lock = [], threading.Lock()


class _Worker:
    """One process that draws."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._words: IO[bytes] = tempfile.TemporaryFile()
        searched = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**os.environ, **settings(), "PYTHONPATH": searched},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()
        self.end = weakref.finalize(
            self, _end, os.getpid(), self._process, self._requests, self._answers, self._words
        )

    def describe(self, scene: bytes) -> None:
        """Say what is to be drawn."""
        self._send(scene)

    def greet(self) -> None:
        """Wait until it is ready."""
        greeting = self._receive()
        if greeting != READY:
            self.end()
            raise UsageError(greeting[len(REFUSAL) :].decode())

    def ask(self, rows: npt.NDArray[np.float32]) -> None:
        """Ask for frames of rows as `painter.POSE` says."""
        self._send(rows.tobytes())

    def answer(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """The frames that were asked for."""
        answer = self._receive()
        assert answer[: len(FRAMES)] == FRAMES
        return np.frombuffer(answer, np.uint8, offset=len(FRAMES)).reshape(shape)

    def _send(self, message: bytes) -> None:
        try:
            self._requests.send_bytes(message)
        except OSError:
            raise self._died() from None

    def _receive(self) -> bytes:
        try:
            return self._answers.recv_bytes()
        except (EOFError, OSError):
            raise self._died() from None

    def _died(self) -> AdbenchError:
        code = self._process.wait()
        self._words.seek(0)
        words = self._words.read()[-_LAST_WORDS:].decode(errors="replace").strip()
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return AdbenchError(
            f"MiniWorld's drawing process {self.number} (pid {self._process.pid}) was {how}. "
            f"It said: {words or 'nothing'}. Draw again and others are started; if they die too, "
            "give them more memory (0.2 GB each), or draw with renderer='raycast'."
        )


def _end(
    owner: int,
    process: subprocess.Popen[bytes],
    requests: Connection,
    answers: Connection,
    words: IO[bytes],
) -> None:
    if os.getpid() != owner:
        return
    requests.close()
    process.terminate()
    process.wait()
    answers.close()
    words.close()


def _bodies(worlds: tuple[World, ...]) -> tuple[str, ...]:
    """Names of the bodies in the order in which their poses come: that of the ray caster.

    Raises:
        UsageError: a body that MiniWorld's renderer cannot move.
    """
    for world in worlds:
        parts: tuple[Disc | Picture, ...] = (*world.discs, *world.pictures)
        for part in parts:
            if part.body is not None:
                raise UsageError(
                    f"world {world.name!r}: the {type(part).__name__.lower()} {part.body!r} moves, "
                    "and the miniworld renderer moves boxes alone. Draw with renderer='raycast'."
                )
    named = (box.body for world in worlds for box in world.boxes)
    return tuple(dict.fromkeys(name for name in named if name is not None))


def _described(
    worlds: tuple[World, ...], frame: tuple[int, int], samples: int, bodies: tuple[str, ...]
) -> bytes:
    """What the first message says."""
    return json.dumps(
        {
            "worlds": [asdict(world) for world in worlds],
            "height": frame[0],
            "width": frame[1],
            "samples": samples,
            "bodies": bodies,
        }
    ).encode()


def _cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
