"""Where queries may sit among keys: at, before or after them, as far as kernels can count.

Q queries; query i sits at position query_offset + i * query_stride.
"""

from __future__ import annotations

from adbench_kernels.arguments import whole

LONGEST = 1 << 30
"""Keys a row, and positions: kernels count in 32 bits, and a window of this shows everything."""


def check_length(name: str, num_keys: int) -> None:
    """Refuse rows of more keys than kernels can count.

    Raises:
        ValueError: names the argument.
    """
    if num_keys > LONGEST:
        raise ValueError(f"{name}: must be at most {LONGEST} keys a row; got {num_keys}")


def check_positions(num_queries: int, query_offset: int, query_stride: int) -> tuple[int, int]:
    """Refuse positions that kernels cannot count to.

    Returns:
        The offset and the stride.

    Raises:
        ValueError: names the argument.
    """
    offset = whole("query_offset", query_offset, least=0)
    stride = whole("query_stride", query_stride, least=1)
    for name, value in (("query_offset", offset), ("query_stride", stride)):
        if value > LONGEST:
            raise ValueError(f"{name}: must be at most {LONGEST}; got {value}")
    if num_queries > 0 and offset + (num_queries - 1) * stride >= LONGEST:
        raise ValueError(
            f"query_offset: the last of {num_queries} queries would sit at position "
            f"{offset + (num_queries - 1) * stride} (offset {offset}, stride {stride}); positions "
            f"are below {LONGEST}"
        )
    return offset, stride


def check_among_keys(
    num_queries: int, num_keys: int, query_offset: int, query_stride: int
) -> tuple[int, int]:
    """As `check_positions`; also refuse queries after the last key.

    Returns:
        The offset and the stride.

    Raises:
        ValueError: names the argument.
    """
    offset, stride = check_positions(num_queries, query_offset, query_stride)
    last = offset + (num_queries - 1) * stride
    if num_queries > 0 and last >= num_keys:
        raise ValueError(
            f"query_offset: the last of {num_queries} queries would sit at position {last} "
            f"(offset {offset}, stride {stride}), but there are {num_keys} tokens"
        )
    return offset, stride
