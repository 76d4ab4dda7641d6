"""The processes that draw: started from anywhere, named when they die, gone with their owner."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adbench.errors import AdbenchError, UsageError
from adbench_envs.watermaze import WatermazeSmall
from adbench_envs.worlds.opengl import workers
from adbench_envs.worlds.opengl.workers import Painters

pytestmark = pytest.mark.requires("gl")

POSES = np.zeros((2, 3), np.float32)
PATIENCE_SECONDS = 60.0


def _painters() -> Painters:
    return Painters(WatermazeSmall().worlds, frame=(8, 10), samples=1)


def _pids(painters: Painters) -> list[int]:
    return [worker._process.pid for worker in painters._staff]


def _gone(pid: int) -> bool:
    """Wait for a process to end."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_large_batches_are_shared_out_and_put_together_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_cores", lambda: 3)
    painters = _painters()
    poses = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3)).astype(np.float32)
    one_by_one = np.concatenate([painters.draw(poses[n : n + 1]) for n in range(200)])
    assert len(_pids(painters)) == 1
    together = painters.draw(poses)
    assert len(_pids(painters)) == 3
    assert np.array_equal(together, one_by_one)


def test_a_worker_that_was_killed_is_named_and_replaced() -> None:
    painters = _painters()
    frames = painters.draw(POSES)
    (pid,) = _pids(painters)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(AdbenchError, match=rf"process 0 \(pid {pid}\) was killed by signal 9"):
        painters.draw(POSES)
    assert np.array_equal(painters.draw(POSES), frames)
    assert _pids(painters) != [pid]


def test_what_a_dying_worker_said_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PROGRAM", ("-c", "raise SystemExit('the ink ran out')"))
    with pytest.raises(AdbenchError, match=r"ended with exit code 1. It said: the ink ran out"):
        _painters().draw(POSES)


def test_what_a_worker_cannot_do_for_want_of_a_driver_is_said_as_it_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent.json")
    with pytest.raises(UsageError, match="no OpenGL context could be had headless through EGL"):
        _painters().draw(POSES)


def test_a_worker_loads_what_it_draws_with_and_no_torch() -> None:
    script = (
        "import sys\n"
        "import adbench_envs.worlds.opengl.painter\n"
        "from adbench_envs.worlds.opengl.libraries import load\n"
        "load()\n"
        "import adbench_envs.worlds.opengl.drawing\n"
        "assert 'miniworld' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_workers_end_with_what_owns_them() -> None:
    family = WatermazeSmall(height=8, width=8, renderer="miniworld")
    env = family.make(family.tasks("train", 2, seed=0), seed=0)
    env.reset()
    (pid,) = _pids(family.draw.painters)  # type: ignore[attr-defined]
    del family, env
    gc.collect()
    assert _gone(pid)


def test_a_copy_draws_the_same_in_processes_of_its_own() -> None:
    painters = _painters()
    frames = painters.draw(POSES)
    copy = pickle.loads(pickle.dumps(painters))
    assert np.array_equal(copy.draw(POSES), frames)
    assert not set(_pids(copy)) & set(_pids(painters))


def test_a_script_without_a_guard_draws_in_a_fork_too_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import os, signal, sys, torch\n"
        "from adbench_envs.watermaze import WatermazeSmall\n"
        "family = WatermazeSmall(height=8, width=8, renderer='miniworld')\n"
        "states = {'pose': torch.zeros(1, 3)}\n"
        "frames = family.render_state(states)\n"
        "child = os.fork()\n"
        "assert torch.equal(family.render_state(states), frames)\n"
        "print(*(worker._process.pid for worker in family.draw.painters._staff), flush=True)\n"
        "if child == 0:\n"
        "    sys.exit()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert torch.equal(family.render_state(states), frames)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(word) for word in done.stdout.split()]
    assert len(set(pids)) == 2
    assert all(_gone(pid) for pid in pids)
