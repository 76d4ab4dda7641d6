"""Whatever kills a run, the same command goes on, and the outcome is that of a run left in peace.

A zygote process carries out the run that nobody disturbs and then forks a child for each further
command, so that a test can kill many real processes without paying for as many imports and
compilations. A *moment* of a run is a file operation in its folder or a word of progress; a child
is killed at the n-th moment of a step.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

ZYGOTE = """
import json, os, signal, sys
from contextlib import contextmanager

# A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

from adbench.cli import main
from adbench.commands import session
from adbench.progress import Reporter
from adbench.stages.work import Seconds

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}

def watch(order):
    moments, step = {}, ""

    def moment():
        moments[step] = moments.get(step, 0) + 1
        if step == order.get("step") and moments[step] == order["moment"]:
            os.kill(os.getpid(), order["signal"])

    def audit(event, args):
        touches = event in FILES or (event == "open" and args[2] & WRITES)
        if touches and not isinstance(args[0], int) and order["folder"] in os.fsdecode(args[0]):
            moment()

    sys.addaudithook(audit)
    plain = Reporter.task

    @contextmanager
    def task(self, what, *, unit):
        nonlocal step
        step = what
        with plain(self, what, unit=unit) as progress:
            def counted(done, total, note=""):
                moment()
                progress(done, total, note)
            yield counted

    Reporter.task = task
    return moments

def asked_so_often(began, asks):
    # `--stop-after N` counts questions here, because a test knows no clock.
    left = asks
    def stop():
        nonlocal left
        if left is not None:
            left -= 1
        return left is not None and left < 0
    return stop

session.deadline = asked_so_often
# No moment may depend on the clock: the account is written at the end of a step alone.
Seconds.__init__.__kwdefaults__["interval_seconds"] = float("inf")

def carry_out(order):
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    moments = watch(order)
    code = main(order["words"])
    sys.stdout.flush()
    with open(order["log"] + ".moments", "w") as file:
        json.dump(moments, file)
    return code

answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    order = json.loads(line)
    if order["fork"]:
        child = os.fork()
        if child == 0:
            os._exit(carry_out(order))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        code = carry_out(order)
    print(code, file=answers, flush=True)
"""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
"""A process that forks must have no threads, and sums must be rounded alike in all of them."""

RUN = (
    "run dark-room --preset smoke --tasks.train 8 --tasks.validation 2 --tasks.test 2 "
    "--collect.learners-per-task 1 --collect.episodes 4 --collect.expert-episodes 1 "
    "--collect.max-episodes 6 --train.updates 6 --train.checkpoint-updates 2 "
    "--train.batch-sequences 2 --evaluate.episodes 2 --evaluate.lanes-per-task 1 "
    "--train.choose-best --model.dropout 0.1"
).split()


class Zygote:
    """Runs commands in forked children and tells how they ended."""

    def __init__(self, tmp_path: Path, process: subprocess.Popen[str]) -> None:
        self.log = tmp_path / "log"
        self._process = process

    def run(self, folder: Path, *more: str, fork: bool = True, **kill: Any) -> int:
        words = [*RUN, "--out", str(folder), *more]
        order = {"words": words, "folder": str(folder), "log": str(self.log), "fork": fork}
        order |= kill
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    yield Zygote(tmp_path_factory.mktemp("zygote"), process)
    process.communicate()


@pytest.fixture(scope="module")
def peaceful(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; beside it how many moments each of its steps had."""
    folder = tmp_path_factory.mktemp("runs") / "peaceful"
    assert zygote.run(folder, fork=False) == 0, zygote.log.read_text()
    Path(f"{zygote.log}.moments").rename(folder.parent / "moments")
    return folder


def outcome(folder: Path, *, checkpoints: str = "*", metrics: bool = True) -> dict[str, Any]:
    """Everything that must be equal: digests of files, results without their times."""
    found: dict[str, Any] = {}
    for pattern in (
        "histories/*/shard-*.h5",
        f"checkpoints/*/*/{checkpoints}/*.safetensors",
        "evaluations/*/*",
        "evaluations/*/*/*",
    ):
        for path in filter(Path.is_file, folder.glob(pattern)):
            found[str(path.relative_to(folder))] = blake2b(path.read_bytes()).hexdigest()
    results = json.loads((folder / "results.json").read_text())
    # Where the code comes from may change beside us: a developer commits while tests run.
    apart = ("stage_seconds", "throughput", "peak_memory_bytes", "commit")
    found |= {name: value for name, value in results.items() if name not in apart}
    if metrics:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        times = ("seconds", "tokens_per_second")
        found["metrics"] = [{k: v for k, v in line.items() if k not in times} for line in lines]
    assert len(found) > 45
    return found


def leftovers(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*.tmp")]


def test_kills_at_random_moments_of_every_step_change_nothing(
    zygote: Zygote, peaceful: Path, tmp_path: Path
) -> None:
    moments = json.loads((peaceful.parent / "moments").read_text())
    moments.pop("")
    assert {"collect, seed 0", "train ad, seed 0", "evaluate ed, seed 0", "report"} < set(moments)
    draw = random.Random(20)
    folder = tmp_path / "killed"
    # One child more for what happens before the first step.
    assert zygote.run(folder, step="", moment=2, signal=signal.SIGKILL) == -signal.SIGKILL
    for step, count in moments.items():
        # The long ones twice: what was gone on with is gone on with again.
        twice = step.startswith(("collect", "train ad,"))
        for latest in (count // 2, count // 4) if twice else (count,):
            at = {"step": step, "moment": draw.randint(1, latest), "signal": signal.SIGKILL}
            assert zygote.run(folder, **at) == -signal.SIGKILL, (at, zygote.log.read_text())
    assert zygote.run(folder) == 0, zygote.log.read_text()
    assert outcome(folder) == outcome(peaceful)
    assert leftovers(folder) == []


def test_ctrl_c_and_sigterm_keep_what_is_finished_and_say_how_to_go_on(
    zygote: Zygote, peaceful: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "interrupted"
    for step, how, code in (
        ("collect, seed 0", signal.SIGINT, 130),
        ("train ad, seed 0", signal.SIGTERM, 143),
        ("evaluate ad, seed 0", signal.SIGINT, 130),
        ("report", signal.SIGTERM, 143),
    ):
        assert zygote.run(folder, step=step, moment=2, signal=how) == code
        said = zygote.log.read_text()
        assert f"is kept in {folder}" in said and "Go on with:  adbench run dark-room" in said
        assert "Traceback" not in said
    assert zygote.run(folder) == 0
    assert outcome(folder) == outcome(peaceful)


def test_stopping_every_few_units_of_work_ends_in_the_same_outcome(
    zygote: Zygote, peaceful: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in pieces"
    said = []
    while (code := zygote.run(folder, "--stop-after", "4")) == 3:
        said.append(zygote.log.read_text())
        assert f"--out '{folder}'" in said[-1] and len(said) < 40
    assert code == 0, zygote.log.read_text()
    assert len(said) > 5 and any("training stopped at update" in each for each in said)
    # A stop writes a checkpoint, and a line of metrics, where there would be none.
    last: dict[str, Any] = {"checkpoints": "update-00000006", "metrics": False}
    assert outcome(folder, **last) == outcome(peaceful, **last)


def test_a_finished_run_says_so_and_touches_nothing(zygote: Zygote, peaceful: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in peaceful.rglob("*") if path.is_file()}
    assert zygote.run(peaceful) == 0
    assert f"{peaceful}: this run is finished." in zygote.log.read_text()
    before.pop(peaceful / ".lock")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_process_from_the_shell_holds_its_folder_and_can_be_killed_outright(
    zygote: Zygote, peaceful: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shell"
    command = [sys.executable, "-m", "adbench", *RUN, "--out", str(folder)]
    environment = {**os.environ, **ONE_THREAD}
    alone = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert alone.stderr is not None
    try:
        said = ""
        while "train ad, seed 0" not in said and alone.poll() is None:
            said += alone.stderr.read(1)
        assert alone.poll() is None, said
        alone.send_signal(signal.SIGSTOP)
        assert zygote.run(folder) == 2
        assert f"in use by process {alone.pid} on " in zygote.log.read_text()
    finally:
        alone.kill()
        alone.communicate()
    assert zygote.run(folder) == 0
    assert outcome(folder) == outcome(peaceful)
