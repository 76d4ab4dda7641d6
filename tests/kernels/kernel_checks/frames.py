"""When two implementations of the ray caster show the same picture."""

from __future__ import annotations

from torch import Tensor

# Twins round alike but not in the same order, and the one in numba tells 256 places in a texel
# apart and weights of 1 / 8192: a texel's colour is off by 255 / 256 at most, and then rounded.
TWIN_ERROR = 2
# Where a ray passes a corner, or a pixel's size the border between two mip levels, by less than
# float32 tells apart, twins may decide differently: a few pixels in a thousand at most.
TWIN_SHARE = 0.997
TWIN_MEAN_ERROR = 0.1


def twins_agree(ours: Tensor, theirs: Tensor) -> None:
    """Fail unless frames, uint8 [N, H, W, 3], are the same but for what rounding decides."""
    assert ours.shape == theirs.shape
    error = (ours.int() - theirs.int()).abs()
    share = float((error.amax(-1) <= TWIN_ERROR).float().mean())
    mean = float(error.float().mean())
    assert share >= TWIN_SHARE and mean <= TWIN_MEAN_ERROR, (
        f"off by {mean:.3g} of 255 on average; {share:.4f} of pixels within {TWIN_ERROR}"
    )
