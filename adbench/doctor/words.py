"""The doctor's record as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adbench.resources import size


def lines(record: dict[str, Any]) -> Iterator[str]:
    """What `examine` found, part by part; what is missing and what is wrong come last."""
    yield from _machine(record)
    yield from _packages(record["packages"])
    yield from _kernels(record["kernels"])
    yield from _environments(record["environments"])
    yield from _ceilings(record["ceilings"])
    yield ""
    if not record["problems"]:
        yield "Nothing that adbench needs is missing or broken."
        return
    yield "What has to be mended"
    yield from (f"  {problem}" for problem in record["problems"])


def _machine(record: dict[str, Any]) -> Iterator[str]:
    own, machine, torch = record["adbench"], record["machine"], record["torch"]
    commit = own["commit"] if isinstance(own["commit"], str) else None
    version = own["version"] or "(not installed)"
    yield f"adbench {version}{f', commit {commit}' if commit else ''}; Python {own['python']}"
    if "error" in machine:
        yield f"  the machine: {machine['error']}"
    else:
        free = machine["free_memory_bytes"]
        memory = f", {size(free)} of memory free" if free is not None else ""
        cores = f"{machine['usable_cores']} of {machine['cores']} cores usable"
        yield f"{machine['processor']}, {machine['system']}; {cores}{memory}"
        compiler = machine["compiler"]
        yield f"C++ compiler (for train.compile alone): {compiler or 'none: install g++'}"
    yield _gpu_line(torch)


def _gpu_line(torch: dict[str, Any]) -> str:
    if "version" not in torch:
        return f"torch cannot be used: {torch['error']}"
    gpus, built = torch["gpus"], torch["cuda_build"]
    if isinstance(gpus, dict):
        return f"torch {torch['version']}: its GPUs cannot be used: {gpus['error']}"
    if not gpus:
        why = f"is built for CUDA {built} and sees none" if built else "is built without CUDA"
        return f"No GPU: torch {torch['version']} {why}"
    named = "; ".join(
        f"{gpu['name']} (sm_{gpu['capability'].replace('.', '')}, {size(gpu['memory_bytes'])})"
        for gpu in gpus
    )
    return f"{named}; torch {torch['version']}, CUDA {built}"


def _packages(packages: list[dict[str, Any]]) -> Iterator[str]:
    if not packages:
        return
    yield "\nPackages"
    there = [f"{p['name']} {p['version']}" for p in packages if p["version"]]
    for start in range(0, len(there), 4):
        yield "  " + ", ".join(there[start : start + 4])
    missing = [package for package in packages if not package["version"]]
    if not missing:
        return
    yield "Missing"
    width = max(len(package["name"]) for package in missing)
    for package in missing:
        serves = f"  ({package['serves']})" if package["serves"] else ""
        yield f"  {package['name']:{width}}  {package['install']}{serves}"


def _kernels(kernels: dict[str, Any]) -> Iterator[str]:
    yield "\nKernels that run here (`adbench kernels` says which are taken, and why)"
    if "operations" not in kernels:
        yield f"  none: {kernels['error']}"
        return
    width = max(map(len, kernels["operations"]))
    for name, how in kernels["operations"].items():
        yield f"  {name:{width}}  {', '.join(how['available'])}"
    yield from (f"  {note}" for note in kernels["notes"])


def _environments(environments: list[dict[str, Any]] | dict[str, Any]) -> Iterator[str]:
    yield "\nEnvironments, and their presets that would start"
    if isinstance(environments, dict):
        yield f"  none: {environments['error']}"
        return
    width = max((len(env["name"]) for env in environments), default=0)
    lacking: dict[str, None] = {}
    for env in environments:
        name = f"  {env['name']:{width}}  "
        if env["error"]:
            yield f"{name}BROKEN: {env['error']}"
            continue
        starts = [preset for preset, error in env["presets"].items() if not error]
        draws = [renderer for renderer, error in env["renderers"].items() if not error]
        by = f"; drawn by {' or '.join(draws)}" if draws else ""
        yield f"{name}{', '.join(starts)}{by}"
        for preset, error in env["presets"].items():
            if error:
                yield f"  {'':{width}}  {preset}: {error}"
        for renderer, error in env["renderers"].items():
            if error:
                # The same for every world: said once.
                lacking[f"  drawn by {renderer}: {error.removeprefix(_OF % env['name'])}"] = None
    yield from lacking


_OF = "env_settings of %s: "
"""What `plugins.family` puts before a family's own words."""


def _ceilings(ceilings: dict[str, Any]) -> Iterator[str]:
    yield "\nSpeed, measured just now beside whatever else runs"
    if "matmul" not in ceilings:
        yield f"  none: {ceilings['error']}"
        return
    product, copy = ceilings["matmul"], ceilings["copy"]
    count = ceilings["threads"]
    threads = f", {count} thread{'s' * (count > 1)}" if ceilings["device"] == "cpu" else ""
    yield (
        f"  matrix product  {_rate(product['flops_per_s'], 'FLOP/s'):>14}   "
        f"{product['dtype']}, {product['size']} x {product['size']}{threads}"
    )
    yield (
        f"  copy            {_rate(copy['bytes_per_s'], 'B/s'):>14}   "
        f"{size(copy['bytes'])}, read and written{threads}"
    )


def _rate(amount: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G"):
        if amount < 1000:
            return f"{amount:.3g} {prefix}{unit}"
        amount /= 1000
    return f"{amount:.3g} T{unit}"
