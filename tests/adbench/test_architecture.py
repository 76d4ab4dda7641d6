"""The rules of the house that a machine can check; each is shown to catch a planted violation."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "adbench": ROOT / "adbench",
    "adbench_kernels": ROOT / "kernels/adbench_kernels",
    "adbench_envs": ROOT / "envs/adbench_envs",
}
LONGEST_FILE_LINES, LONGEST_TEST_LINES = 400, 600

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "adbench_kernels": ("adbench_kernels",),
    "adbench": ("adbench", "adbench_kernels"),
    "adbench_envs": (
        "adbench_envs",
        "adbench_kernels",
        "adbench.task",
        "adbench.config",
        "adbench.noise",
        "adbench.tokens",
        "adbench.errors",
    ),
}
"""Of our own packages: a name allows itself and what is below it."""

SEEDS_ALLOWED = ("adbench/cli.py",)


def sources(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def ours() -> list[Path]:
    return [path for package in PACKAGES for path in sources(package)]


def imported_modules(tree: ast.AST, module: str) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: counted from the file's own package
                above = module.split(".")[: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wrong_imports(code: str, package: str, module: str) -> list[str]:
    allowed = MAY_IMPORT[package]
    return [
        name
        for name in imported_modules(ast.parse(code), module)
        if name.split(".")[0] in PACKAGES
        and not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)
    ]


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


RANDOM_TYPES = ("Generator", "Philox", "BitGenerator", "SeedSequence")


def global_randomness(code: str) -> list[str]:
    """Uses of generators that belong to the whole process."""
    names = [dotted(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    wrong = {"torch.manual_seed", "torch.seed", "torch.random.manual_seed", "random.seed"}
    return [
        name
        for name in names
        if name in wrong
        or (
            name.startswith(("np.random.", "numpy.random."))
            and name.split(".")[2] not in RANDOM_TYPES
        )
    ]


def reads_that_run_code(code: str, module: str = "") -> list[str]:
    tree = ast.parse(code)
    modules = [name.split(".")[0] for name in imported_modules(tree, module)]
    calls = [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    allow_pickle = [
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "allow_pickle" and getattr(keyword.value, "value", True) is not False
    ]
    bad_modules = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    return (
        [name for name in modules if name in bad_modules]
        + [name for name in calls if name in {"torch.load", "torch.save", "yaml.load"}]
        + [str(name) for name in allow_pickle]
    )


def undocumented(code: str) -> list[str]:
    """Public modules, classes, functions and methods without a docstring."""
    tree = ast.parse(code)
    missing = [] if ast.get_docstring(tree) or not tree.body else ["module"]
    protocols: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.If):  # definitions under TYPE_CHECKING or a version test
                visit(node.body + node.orelse, prefix)
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            decorators = {
                dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list
            }
            spoken_for = {"overload", "typing.overload", "override"} & {
                *decorators,
                *(name.rsplit(".", 1)[-1] for name in decorators),
            } or any(name.endswith((".setter", ".deleter")) for name in decorators)
            if node.name.startswith("_") or spoken_for:
                continue
            if "property" in decorators and prefix in protocols:
                continue  # an attribute of a Protocol: the class describes it
            if not ast.get_docstring(node):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                if "Protocol" in {dotted(base) for base in node.bases}:
                    protocols.add(f"{prefix}{node.name}.")
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


def findings(check: Callable[[str], list[str]], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {wrong}" for path in paths if (wrong := check(path.read_text()))
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in sources(package):
        parts = path.relative_to(PACKAGES[package].parent).with_suffix("").parts
        found = wrong_imports(path.read_text(), package, ".".join(parts))
        wrong += [f"{path.relative_to(ROOT)}: {found}"] if found else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("adbench_kernels", "import adbench.task"),
        ("adbench_kernels", "def f():\n    from adbench import config"),
        ("adbench", "from adbench_envs.dark_room import DarkRoom"),
        ("adbench", "import adbench_envs"),
        ("adbench_envs", "from adbench import TaskFamily"),
        ("adbench_envs", "import adbench.tasks_of_mine"),
        ("adbench_envs", "if True:\n    from adbench.history import reader"),
    ],
)
def test_an_import_that_points_the_other_way_is_caught(package: str, code: str) -> None:
    assert wrong_imports(code, package, f"{package}.module")


def test_allowed_imports_are_not_caught() -> None:
    code = "from adbench.task import TaskFamily\nfrom . import presets\nimport torch"
    assert not wrong_imports(code, "adbench_envs", "adbench_envs.bandit")


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for paths, most in ((ours(), LONGEST_FILE_LINES), (tests, LONGEST_TEST_LINES)):
        lines = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in paths}
        assert not {name: count for name, count in lines.items() if count > most}


def test_every_public_name_has_its_docstring() -> None:
    wrong = findings(undocumented, ours())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code",
    [
        "x = 1",
        '"""m"""\ndef f(): ...',
        '"""m"""\nclass C:\n    """c"""\n    def f(self): ...',
        '"""m"""\nif True:\n    class C: ...',
    ],
)
def test_a_missing_docstring_is_caught(code: str) -> None:
    assert undocumented(code)


def test_private_names_and_overloads_need_no_docstring() -> None:
    code = '"""m"""\ndef _f(): ...\nclass _C:\n    def f(self): ...\n@overload\ndef g(): ...'
    assert not undocumented(code)


def test_randomness_belongs_to_nobody_else() -> None:
    paths = [p for p in ours() if str(p.relative_to(ROOT)) not in SEEDS_ALLOWED]
    wrong = findings(global_randomness, paths)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code",
    ["np.random.rand(3)", "torch.manual_seed(0)", "rng = numpy.random.default_rng()"],
)
def test_global_randomness_is_caught(code: str) -> None:
    assert global_randomness(code)


def test_keyed_generators_are_not_caught() -> None:
    assert not global_randomness("np.random.Generator(np.random.Philox(key=k))")


def test_nothing_that_is_read_can_run_code() -> None:
    wrong = findings(reads_that_run_code, ours())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "def f():\n    import joblib",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
    ],
)
def test_a_read_that_can_run_code_is_caught(code: str) -> None:
    assert reads_that_run_code(code)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_adbench_loads_nothing_heavy() -> None:
    loaded = modules_after("import adbench")
    assert not loaded & {"torch", "gymnasium", "triton", "h5py", "matplotlib", "numpy", "pydantic"}


def test_importing_adbench_envs_loads_no_torch() -> None:
    assert "torch" not in modules_after("import adbench_envs")


def test_help_and_verbs_are_read_without_torch_tyro_or_pydantic() -> None:
    code = (
        "import contextlib, io\n"
        "from adbench.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "assert 'run' in out.getvalue()"
    )
    assert not modules_after(code) & {"torch", "tyro", "pydantic", "gymnasium", "matplotlib"}


def test_every_public_name_of_adbench_can_be_had() -> None:
    import adbench

    assert all(getattr(adbench, name) is not None for name in adbench.__all__)
    assert set(adbench.__all__) <= set(dir(adbench))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = adbench.nonsense
