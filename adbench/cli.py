"""The command line: reads the verb, loads its module, and turns every ending into an exit code.

Exit codes: 0 done, 1 it failed, 2 you asked wrongly, 3 stopped on request with work left
(`--stop-after`), 130 Ctrl-C, 143 SIGTERM. stdout carries data, stderr everything else. Nothing
heavy is imported before the verb is known.
"""

from __future__ import annotations

import errno
import importlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from adbench.errors import AdbenchError, UsageError, unknown_name

VERBS = {
    "run": "collect, train, evaluate and report: one run from start to figure",
    "collect": "make the learning histories of a run, and stop there",
    "train": "train the transformers of a run on its histories",
    "evaluate": "roll the frozen transformers out on tasks they have never seen",
    "report": "draw a run's results.json and report.html from what is there",
    "compare": "put several runs side by side",
    "suite": "run many worlds and seeds, resume them, and put them on a leaderboard",
    "perf": "report what benchmarks measured; say what got slower",
    "list": "what there is: environments, sources, presets",
    "plugins": "which packages brought what, and what is broken",
    "check-env": "hold an environment to the contract and say what is wrong",
    "play": "watch an agent on one task: what it sees and where it goes, as GIF, MP4 or PNG",
    "show": "draw a first-person environment: maps of some tasks, and frames from within",
    "kernels": "which kernels run here, why those, and what is missing",
    "completion": "a script that lets bash, zsh or fish complete what you type",
    "doctor": "what of adbench works on this machine, what is missing, how fast it is",
}

HELP = """\
adbench: Algorithm Distillation end to end.

Many reinforcement learners each learn one task; a transformer is trained on the histories of
their learning; frozen, it then learns tasks it has never seen, inside its context.

usage: adbench VERB ...

{verbs}

examples:
  adbench run dark-room --preset smoke --out runs/smoke    seconds; far too small to learn anything
  adbench run dark-room --out runs/first                   minutes; then open runs/first/report.html
  adbench run dark-room --out runs/wide --model.width 192 --seeds 0,1,2
  adbench compare runs/first runs/wide

A run that was interrupted goes on where it was: type the same command again.
`adbench VERB --help` says more about a verb; `adbench run dark-room --help` lists every setting.
Guide: docs/ in the source; each page is about one thing. docs/cli.md is about this program.
"""


_OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
    errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip
"""What goes wrong with a disk, or with what lies in a folder, without our being at fault."""
_KEPT = "What was finished is kept, and the same command goes on from there."


class _Terminated(KeyboardInterrupt):
    """SIGTERM: it ends a run as Ctrl-C does, with an exit code of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns its exit code.

    Args:
        arguments: what follows the program's name; none: `sys.argv`.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # OpenMP's threads spin while they wait unless told not to before torch is loaded: on cores that
    # are shared a step then takes several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # not the main thread: whoever called us looks after signals
        return _ending(arguments)
    try:
        return _ending(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)


def _ending(arguments: Sequence[str]) -> int:
    """Carry a command line out and turn its ending into an exit code."""
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as ending:  # argparse ends the program after --help
        return int(ending.code or 0)
    except AdbenchError as error:
        _say(f"adbench: {error}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, _Terminated)
        _say("")
        _say("adbench: stopped by " + ("SIGTERM." if terminated else "Ctrl-C."))
        for note in getattr(interrupt, "__notes__", ()):
            _say(note)
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): not worth a word, and what is left in the
        # buffer must not be flushed to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            return _crash(error, arguments)
        place = error.filename2 or error.filename or "a file"
        _say(f"adbench: {place}: {error.strerror}. {_KEPT}")
        return 1
    except Exception as error:
        if not _is_out_of_memory(error):
            return _crash(error, arguments)
        _say(f"adbench: out of memory. {_KEPT} Make the run smaller, or close other programs.")
        return 1


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch on a GPU (`OutOfMemoryError`) or torch on the CPU found no memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _crash(error: Exception, arguments: Sequence[str]) -> int:
    from adbench.commands.crash import explain

    _say(explain(error, arguments))
    return 1


def _dispatch(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in ("--version", "-V"):
        from importlib.metadata import version

        print("adbench", version("algorithm-distillation-bench"))
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if arguments[1:] and arguments[0] == "help":
            return _dispatch([arguments[1], "--help"])
        width = max(map(len, VERBS))
        verbs = "\n".join(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())
        print(HELP.format(verbs=verbs), end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else UsageError.exit_code
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS, hint="`adbench --help` says what each does.")
    module = importlib.import_module(f"adbench.commands.{verb.replace('-', '_')}")
    return int(module.main(rest))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass


def command_line(*words: str) -> str:
    """A command of ours as one would type it here, quoted for the shell."""
    called = sys.argv[0]
    if called.endswith(os.path.join("adbench", "__main__.py")):
        return shlex.join([os.path.basename(sys.executable), "-m", "adbench", *words])
    # Called by its path (`.venv/bin/adbench`), it may not be on the shell's: say it as it was said.
    by_path = os.path.basename(called) == "adbench" and shutil.which("adbench") != called
    return shlex.join([called if by_path else "adbench", *words])
