"""Whoever types in a page of the guide, top to bottom, sees it work.

Commands are run by the rules of `documented/shell.py`, Python in one interpreter a page.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adbench.suite import definition
from documented.files import install, write_files
from documented.pages import ROOT, SHELL, Block, blocks, blocks_of, pages, programs
from documented.shell import TINY, CommandError, Shell, commands, shortened, small_suite

NOT_RUN = Path(__file__).with_name("not_run.txt")
REASONS = ("needs a GPU", "needs root", "needs a network", "needs root and a network")

ELSEWHERE = {
    "docs/histories.md": "tests/adbench/test_history_docs.py",
    "docs/model.md": "tests/adbench/model/test_model_docs.py",
    "docs/sources.md": "tests/adbench/test_source_docs.py",
    "docs/statistics.md": "tests/adbench/results/test_statistics_docs.py",
    "docs/worlds.md": "tests/envs/test_worlds_docs.py",
}
"""Where the Python of some pages is run: it needs something, or what it prints is looked at."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def folder(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a page's reader works in: the files that it says to write are there."""
    written = write_files(page, tmp_path)
    if install(tmp_path):
        monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    packages = {path.relative_to(tmp_path).parts[0] for path in written}
    for module in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[module]


def shell_blocks(page: str) -> list[Block]:
    return blocks(page, *SHELL)


def block(text: str) -> Block:
    return Block("a page", 1, "", "sh", text)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "python", *SHELL)])
def test_a_page_works_from_top_to_bottom(page: str, shell: Shell) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for each in blocks(page, "python", *SHELL):
        if each.not_run or each.file:
            continue
        if each.language in SHELL:
            for words in commands(each):
                shell.run(words)
        elif page not in ELSEWHERE:
            where = f"{page}, line {each.line}"
            exec(compile(each.text, where, "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_whose_python_is_run_elsewhere_is_read_there(page: str) -> None:
    assert programs(page)
    assert f'"{page}"' in (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages())
def test_every_block_says_what_it_is(page: str) -> None:
    unnamed = [f"{each.page}:{each.line}" for each in blocks(page) if not each.language]
    assert not unnamed, "fence it and name its language: ```sh, ```python, ```toml, ```text"


def test_what_is_not_run_is_on_the_list() -> None:
    marked = [
        f"{page} | {each.not_run} | {shlex.join(next(commands(each)))}"
        for page in pages()
        for each in shell_blocks(page)
        if each.not_run
    ]
    assert sorted(marked) == NOT_RUN.read_text(encoding="utf-8").splitlines()


def test_only_a_gpu_root_or_a_network_excuses() -> None:
    reasons = [line.split(" | ")[1] for line in NOT_RUN.read_text(encoding="utf-8").splitlines()]
    assert set(reasons) <= set(REASONS)


def test_a_comment_excuses_the_block_right_below_it_and_no_other() -> None:
    fence = "```sh\nmake bench-gpu\n```\n"
    mark = "<!-- not run: needs a GPU -->\n"
    assert [b.not_run for b in blocks_of(f"{mark}{fence}\n{fence}")] == ["needs a GPU", ""]
    assert [b.not_run for b in blocks_of(f"{mark}\nBut first:\n\n{fence}")] == [""]


def test_a_block_without_a_fence_has_no_language() -> None:
    assert [b.language for b in blocks_of("Type\n\n    adbench list\n")] == [""]
    assert blocks_of("- one\n\n    two\n") == []  # a list item's second paragraph


def test_a_command_is_read_as_a_shell_reads_it() -> None:
    text = "adbench list  # all of them\n\nmake \\\n  test && adbench show 'a b'\n"
    words = [["adbench", "list"], ["make", "test"], ["adbench", "show", "a b"]]
    assert list(commands(block(text))) == words
    assert list(commands(block("$ adbench list\nenvironments\n"))) == [["adbench", "list"]]


def test_a_run_is_shortened_and_keeps_what_it_is_about() -> None:
    tiny = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    for preset, kept in (("quick", "smoke"), ("paper", "smoke"), ("tiny", "tiny")):
        words = ["run", "dark-room", "--preset", preset, "--model.width", "128"]
        short = ["run", "dark-room", "--preset", kept, "--model.width", "128", *tiny]
        assert shortened(words) == short
    assert shortened(["collect", "bandit"]) == ["collect", "bandit", "--preset", "smoke", *tiny]
    assert shortened(["show", "watermaze"]) == ["show", "watermaze"]


@pytest.mark.parametrize("name", ["quick", "mine.toml"])
def test_a_suite_is_shortened_to_its_first_world(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('environments = ["bandit", "dark-room"]\n')
    _, _, small, *others = small_suite(["suite", "run", name, "--jobs", "1"])
    assert others == ["--jobs", "1"]
    suite = definition.load(Path(small)).suite
    assert [world.name for world in suite.environments] == ["bandit"]
    assert suite.settings["train"]["updates"] == int(TINY["train.updates"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adbench run dark-rom --out runs/x", "exit code 2"),
        ("adbench show dark-room --out room.png", "exit code 2"),
        ("make no-such-target", "no-such-target"),
        ("python -m pytest benchmarks/bench_nothing.py", "bench_nothing"),
        ("wget somewhere", "no rule says how a test runs 'wget'"),
    ],
)
def test_a_command_that_does_not_work_is_caught(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (words,) = commands(block(text))
    with pytest.raises(CommandError, match=says):
        Shell(tmp_path).run(words)
