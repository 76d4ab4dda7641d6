"""`adbench kernels`: what each operation runs with here and why, and what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from adbench.commands.arguments import Parser
from adbench.errors import UsageError

if TYPE_CHECKING:
    import torch

_COLUMNS = ("operation", "arch", "D", "length", "mask", "takes", "because")


def main(arguments: list[str]) -> int:
    """Print what "auto" takes on a device and which implementations there are; 0."""
    parser = Parser(
        "kernels",
        'What each operation of adbench_kernels runs with here when nobody says (`implementation="'
        'auto"`),\nand why; which implementations there are, and what the missing ones need.',
        examples=("adbench kernels", "adbench kernels --device cuda", "adbench kernels --json"),
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1; left out: a GPU if there is one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.read(arguments)
    record = survey(_device(asked.device))
    if asked.json:
        print(json.dumps(record, indent=2))
    else:
        _show(record)
    return 0


def survey(device: torch.device) -> dict[str, Any]:
    """Everything that is printed, as JSON values.

    Args:
        device: where the inputs would be.
    """
    from adbench_kernels import overview
    from adbench_kernels.choice import arch

    return {
        "device": _describe(device),
        "arch": arch(device),
        "versions": overview.versions(),
        "implementations": {
            op: {
                "available": list(overview.available(op, device)),
                "missing": overview.missing(op, device),
            }
            for op in overview.PROVIDED
        },
        "choices": [row._asdict() for row in overview.choices(device)],
        "notes": overview.notes(device),
    }


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"--device {name}: {reason}. Use cpu, or cuda where torch has it."
        ) from None


def _describe(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return str(device)


def _show(record: dict[str, Any]) -> None:
    found = ", ".join(f"{name} {v or 'missing'}" for name, v in record["versions"].items())
    print(f"{record['device']} ({record['arch']}); {found}\n")
    print("What implementation='auto' takes")
    rows = [_COLUMNS, *_collapsed(record["choices"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS) - 1)]
    for row in rows:
        print("  " + "  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=False)), end="")
        print(f"  {row[-1]}")
    print("\nWhat there is")
    width = max(map(len, record["implementations"]))
    for op, how in record["implementations"].items():
        print(f"  {op:{width}}  {', '.join(how['available'])}")
    lacking = {
        (name, lack)
        for how in record["implementations"].values()
        for name, lack in how["missing"].items()
    }
    if lacking:
        print("\nWhat is missing")
        width = max(len(name) for name, _ in lacking)
        for name, lack in sorted(lacking):
            print(f"  {name:{width}}  {lack}")
    for note in record["notes"]:
        print(f"\n{note}")


def _collapsed(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of the table: widths, lengths and masks that fare alike share one."""
    shown: list[tuple[str, ...]] = []
    for op in dict.fromkeys(row["op"] for row in rows):
        ours = [row for row in rows if row["op"] == op]
        groups: list[tuple[str, list[dict[str, Any]]]] = []
        for mask in dict.fromkeys(row["mask"] for row in ours):
            of_mask = [row for row in ours if row["mask"] == mask]
            if groups and _fates(groups[-1][1]) == _fates(of_mask):
                groups[-1] = (f"{groups[-1][0]}, {mask}", groups[-1][1])
            else:
                groups.append((mask, of_mask))
        for masks, of_mask in groups:
            if len({fate[2:] for fate in _fates(of_mask)}) == 1:
                of_mask = [{**of_mask[0], "head_dim": "any", "length": "any"}]
            for row in of_mask:
                width = str(row["head_dim"] or "")  # 0: an operation without heads
                cells = (op, row["arch"], width, row["length"], masks)
                shown.append((*cells, row["implementation"], row["reason"]))
    return shown


def _fates(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    keys = ("head_dim", "length", "implementation", "reason")
    return [tuple(str(row[key]) for key in keys) for row in rows]
