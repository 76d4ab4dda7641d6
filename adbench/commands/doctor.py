"""`adbench doctor`: what of adbench works on this machine, what is missing, and how fast it is."""

from __future__ import annotations

import json

from adbench.commands.arguments import Parser


def main(arguments: list[str]) -> int:
    """Look at everything and print it; 1 if something that adbench needs is missing or broken."""
    parser = Parser(
        "doctor",
        "What of adbench works on this machine: versions, packages, GPUs, kernels, environments\n"
        "with their presets and renderers; what is missing and the line that installs it; and how\n"
        "fast matrices are multiplied and memory is copied here. Paste it into a bug report.",
        examples=("adbench doctor", "adbench doctor --device cuda", "adbench doctor --json"),
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1; left out: a GPU if there is one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.read(arguments)

    from adbench.doctor import examine
    from adbench.doctor.words import lines

    record = examine(asked.device)
    print(json.dumps(record, indent=2) if asked.json else "\n".join(lines(record)))
    return 1 if record["problems"] else 0
