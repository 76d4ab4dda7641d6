"""What torch is, and where it can compute."""

from __future__ import annotations

from typing import Any

from adbench.doctor.attempt import tried


def torch_record(device: str) -> tuple[dict[str, Any], str]:
    """What torch says of itself, and the device to go on with.

    Args:
        device: "auto", or a device that was asked for; where it cannot be used, that is an error
            of the record and "cpu" is gone on with.

    Returns:
        `version`, `cuda_build` (the CUDA that it is built for), `threads`, `gpus`, `device` and,
        where something is wrong, `error`; then a device's name.
    """
    told = tried(lambda: _record(device))
    return told, str(told.get("device", "cpu"))


def _record(device: str) -> dict[str, Any]:
    import torch

    gpus = tried(_gpus)
    record: dict[str, Any] = {
        "version": str(torch.__version__),
        "cuda_build": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "device": device,
    }
    if device == "auto":
        return record | {"device": "cuda" if isinstance(gpus, list) and gpus else "cpu"}
    usable = tried(lambda: torch.empty(0, device=device))
    if isinstance(usable, dict):
        why = usable["error"]
        record |= {"device": "cpu", "error": f"--device {device} cannot be used: {why}"}
    return record


def _gpus() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [_gpu(index) for index in range(torch.cuda.device_count())]


def _gpu(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    torch.empty(1, device=f"cuda:{index}")  # a GPU that is listed may still refuse to work
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
    }
