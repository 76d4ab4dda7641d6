"""What a transformer block is made of.

D width, H query heads, G key heads, d head width, F hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

from adbench_kernels.arguments import check_floating

Array = TypeVar("Array")


class BlockWeights(NamedTuple, Generic[Array]):
    """Weights of attention and of a two-layer network, each on a residual branch with its norm.

    Matrices are laid out as `torch.nn.Linear` has them, [outputs, inputs].

    Attributes:
        attention_norm: weight of the layer norm of attention's branch, [D].
        attention_norm_bias: its bias, [D].
        qkv: to queries of H heads, then keys and values of G heads each, [(H + 2 G) d, D].
        attention_out: from heads back to the stream, [D, H d].
        hidden_norm: weight of the layer norm of the network's branch, [D].
        hidden_norm_bias: its bias, [D].
        hidden_in: [F, D]; a GELU follows.
        hidden_in_bias: [F].
        hidden_out: [D, F].
        hidden_out_bias: [D].
    """

    attention_norm: Array
    attention_norm_bias: Array
    qkv: Array
    attention_out: Array
    hidden_norm: Array
    hidden_norm_bias: Array
    hidden_in: Array
    hidden_in_bias: Array
    hidden_out: Array
    hidden_out_bias: Array


def check_blocks(blocks: Sequence[BlockWeights[Tensor]], key_heads: int, head_dim: int) -> None:
    """Refuse what does not fit each other: kernels read what the shapes promise.

    Args:
        blocks: all of a stack.
        key_heads: G.
        head_dim: d.

    Raises:
        ValueError: names the weight.
    """
    for layer, block in enumerate(blocks):
        if not isinstance(block, BlockWeights):
            raise ValueError(f"blocks: must be BlockWeights; block {layer} is a {_kind(block)}")
        for name, weight in zip(block._fields, block, strict=True):
            check_floating(f"blocks: {name} of block {layer}", weight)
    first = blocks[0].qkv
    if first.ndim != 2 or blocks[0].hidden_in.ndim != 2:
        raise ValueError("blocks: qkv and hidden_in must be matrices")
    rows, width = first.shape
    if 0 in (width, *blocks[0].hidden_in.shape):
        raise ValueError("blocks: the stream and the hidden numbers must be at least 1 wide; got 0")
    hidden, inner = len(blocks[0].hidden_in), rows - 2 * key_heads * head_dim
    if inner < head_dim or inner % (key_heads * head_dim):
        raise ValueError(
            f"blocks: qkv must have (H + 2 G) d rows, H a multiple of G={key_heads}, d={head_dim}; "
            f"got {rows}"
        )
    expected = BlockWeights[tuple[int, ...]](
        attention_norm=(width,),
        attention_norm_bias=(width,),
        qkv=(rows, width),
        attention_out=(width, inner),
        hidden_norm=(width,),
        hidden_norm_bias=(width,),
        hidden_in=(hidden, width),
        hidden_in_bias=(hidden,),
        hidden_out=(width, hidden),
        hidden_out_bias=(width,),
    )
    for layer, block in enumerate(blocks):
        for name, weight, shape in zip(block._fields, block, expected, strict=True):
            if weight.shape != shape:
                raise ValueError(
                    f"blocks: {name} of block {layer} must be {list(shape)}; "
                    f"got {list(weight.shape)}"
                )
            if weight.dtype != first.dtype or weight.device != first.device:
                raise ValueError(
                    f"blocks: {name} of block {layer} must be {first.dtype} on {first.device}, as "
                    f"the first qkv; got {weight.dtype} on {weight.device}"
                )


def _kind(x: object) -> str:
    return type(x).__name__
