"""The definition of ray casting: every ray against every surface.

A ray sees the nearest surface that it meets from its front, farther off than the near plane. The
colour is the surface's, times its texture there. With four samples a pixel, each looks for its own
surface, whose colour is taken where the pixel's middle meets its plane, and the four are averaged:
OpenGL's multisampling.

The mip level is log2 of rho, the texels of the picture that one pixel to the side or one downwards
spans, whichever are more. One sample takes the nearest level, four blend the two levels around;
both blend the four texels around a point. Pictures repeat without end.

N cameras, H rows, W columns, P surfaces (walls, then flats), E corners.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.ray_casting.camera import NEAR, SAMPLES, pixel_slope
from adbench_kernels.ray_casting.surfaces import Surfaces
from adbench_kernels.ray_casting.textures import Textures

MOST_NUMBERS = 4_000_000
"""In one intermediate tensor: frames are drawn a few at a time."""

GAP = 1e-5
"""Metres by which surfaces are larger than they say, so that no ray slips through, by rounding,
where two of them share an edge."""

_NOTHING = -1


def raycast(
    surfaces: Surfaces,
    textures: Textures,
    sky: Tensor,
    camera: Tensor,
    height: int,
    width: int,
    samples: int,
) -> Tensor:
    """Frames, uint8 [N, H, W, 3], computed in camera's dtype.

    Args:
        surfaces: lit, leading size N.
        textures: that they wear.
        sky: [3], 0 to 1.
        camera: x, y, z, yaw, floating [N, 4].
        height: H.
        width: W.
        samples: 1 or 4.
    """
    num_cameras = camera.shape[0]
    size = height * width * (surfaces.wall_texture.shape[1] + surfaces.flat_texture.shape[1] + 12)
    at_once = max(1, MOST_NUMBERS // max(1, size))
    frames = torch.empty(num_cameras, height, width, 3, dtype=torch.uint8, device=camera.device)
    for first in range(0, num_cameras, at_once):
        part = slice(first, first + at_once)
        view = _View(surfaces.take(torch.arange(num_cameras)[part]), camera[part], height, width)
        total = torch.zeros((), dtype=camera.dtype, device=camera.device)
        for column, row in SAMPLES[samples]:
            seen = view.seen(column, row)
            total = total + view.colour(seen, textures, sky, blend_levels=samples > 1)
        frames[part] = (total * 255.0 / samples).round().clamp(0.0, 255.0).to(torch.uint8)
    return frames


class _View:
    """Some cameras and the surfaces around them, in units of metres, pixels and texels."""

    def __init__(self, surfaces: Surfaces, camera: Tensor, height: int, width: int) -> None:
        self.dtype, self.device = camera.dtype, camera.device
        self.surfaces = Surfaces(
            *(t.to(self.dtype) if t.is_floating_point() else t for t in surfaces.tensors())
        )
        self.height, self.width, self.slope = height, width, pixel_slope(height)
        x, self.eye, z, yaw = camera.unbind(-1)
        self.place = torch.stack((x, z), -1)
        self.forward = torch.stack((yaw.cos(), -yaw.sin()), -1)
        self.right = torch.stack((yaw.sin(), yaw.cos()), -1)

    def rays(self, column: float, row: float) -> tuple[Tensor, Tensor]:
        """Their x and z, [N, W, 2], and their y, [H]."""
        across = torch.arange(self.width, dtype=self.dtype, device=self.device) + column
        down = torch.arange(self.height, dtype=self.dtype, device=self.device) + row
        aside = (across - self.width / 2) * self.slope
        ground = self.forward[:, None] + aside[:, None] * self.right[:, None]
        return ground, (self.height / 2 - down) * self.slope

    def seen(self, column: float, row: float) -> Tensor:
        """The nearest surface of each ray, [N, H, W]; -1 for none."""
        ground, up = self.rays(column, row)
        depth = torch.cat((self._wall_depth(ground, up), self._flat_depth(ground, up)), -1)
        if depth.shape[-1] == 0:
            return torch.full(depth.shape[:-1], _NOTHING, device=self.device)
        nearest, surface = depth.min(-1)
        return torch.where(nearest.isinf(), _NOTHING, surface)

    def _wall_depth(self, ground: Tensor, up: Tensor) -> Tensor:
        """Depth of each wall along each ray, inf where it is not met, [N, H, W, walls]."""
        s = self.surfaces
        start = s.wall_ends[:, None, :, :2] - self.place[:, None, None]
        along = (s.wall_ends[..., 2:] - s.wall_ends[..., :2])[:, None]
        ray = ground[:, :, None]
        # start + u along = t ray; u and t by Cramer's rule. Seen from the front: facing > 0.
        facing = _cross(ray, along)
        u, t = _cross(start, ray) / facing, _cross(start, along) / facing
        beyond = (u - 0.5).abs() - 0.5
        met = (facing > 0) & (beyond * along.norm(dim=-1) <= GAP) & (t > NEAR)
        t = t.masked_fill(~met, torch.inf)[:, None]
        rise = t * up[:, None, None] + self.eye[:, None, None, None]
        bottom, top = s.wall_heights[:, None, None].unbind(-1)
        return torch.where((rise >= bottom - GAP) & (rise <= top + GAP), t, torch.inf)

    def _flat_depth(self, ground: Tensor, up: Tensor) -> Tensor:
        """Depth of each flat along each ray, inf where it is not met, [N, H, W, flats]."""
        s = self.surfaces
        drop = (s.flat_height - self.eye[:, None])[:, None]
        t = drop / up[:, None]
        met = ((t > NEAR) & (up[:, None] * s.flat_faces[:, None] < 0))[:, :, None]
        t = t[:, :, None].expand(-1, -1, self.width, -1)
        point = self.place[:, None, None, None] + t[..., None] * ground[:, None, :, None]
        for e in range(s.flat_corners.shape[2]):
            corner = s.flat_corners[:, :, e]
            edge = s.flat_corners.roll(-1, 2)[:, :, e] - corner
            # Inside is on the left of every edge; those of padding have no length.
            outside = _cross(point - corner[:, None, None], edge[:, None, None])
            met = met & (outside <= GAP * edge.norm(dim=-1)[:, None, None])
        return torch.where(met, t, torch.inf)

    def colour(
        self, seen: Tensor, textures: Textures, sky: Tensor, *, blend_levels: bool
    ) -> Tensor:
        """Of the surfaces that are seen, at the middles of pixels, [N, H, W, 3] from 0 to 1."""
        s = self.surfaces
        if s.wall_texture.shape[1] + s.flat_texture.shape[1] == 0:
            return sky.to(self.dtype).expand(*seen.shape, 3)
        row = torch.arange(seen.shape[0], device=self.device)[:, None, None]
        known = seen.clamp_min(0)
        own = torch.cat((s.wall_colour, s.flat_colour), 1)[row, known]
        texture = torch.cat((s.wall_texture, s.flat_texture), 1)[row, known].long()
        if textures.names:
            uv, to_the_side, downwards = self._texture_coordinates(row, known)
            size = textures.sizes.to(self.dtype)[texture.clamp_min(0)]
            rho = torch.maximum((to_the_side * size).norm(dim=-1), (downwards * size).norm(dim=-1))
            texel = _sample(textures, texture.clamp_min(0), uv, rho, blend_levels)
            own = torch.where((texture >= 0)[..., None], own * texel, own)
        return torch.where((seen >= 0)[..., None], own, sky.to(self.dtype))

    def _texture_coordinates(self, row: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u, v, and what they change by a pixel to the side and downwards, each [N, H, W, 2]."""
        s = self.surfaces
        ground, up = self.rays(0.5, 0.5)
        ray = torch.cat(
            (
                ground[:, None].expand(-1, self.height, -1, -1),
                up[None, :, None, None].expand(len(ground), -1, self.width, 1),
            ),
            -1,
        )
        # A surface: its normal, how far in front of the eye its plane is, and u and v as an affine
        # function of x, z, y.
        start, end = s.wall_ends[..., :2], s.wall_ends[..., 2:]
        along = end - start
        left = torch.stack((along[..., 1], -along[..., 0]), -1)
        u0, u1, v0, v1 = s.wall_uv.unbind(-1)
        bottom, top = s.wall_heights.unbind(-1)
        each_metre = ((u1 - u0) / along.square().sum(-1))[..., None] * along
        rise = (v1 - v0) / (top - bottom)
        nothing = torch.zeros_like(rise)
        wall_normal = torch.cat((left, nothing[..., None]), -1)
        wall_u = torch.cat(
            (each_metre, torch.stack((nothing, u0 - (each_metre * start).sum(-1)), -1)), -1
        )
        wall_v = torch.stack((nothing, nothing, rise, v0 - rise * bottom), -1)
        wall_from_eye = ((start - self.place[:, None]) * left).sum(-1)
        a, b, c, d, e, f = s.flat_uv.unbind(-1)
        flat = torch.zeros_like(a)
        flat_normal = torch.stack((flat, flat, torch.ones_like(a)), -1)
        flat_from_eye = s.flat_height - self.eye[:, None]
        normal = torch.cat((wall_normal, flat_normal), 1)[row, known]
        from_eye = torch.cat((wall_from_eye, flat_from_eye), 1)[row, known]
        u = torch.cat((wall_u, torch.stack((a, b, flat, c), -1)), 1)[row, known]
        v = torch.cat((wall_v, torch.stack((d, e, flat, f), -1)), 1)[row, known]

        towards = (ray * normal).sum(-1, keepdim=True)
        t = from_eye[..., None] / towards
        eye = torch.cat((self.place, self.eye[:, None]), -1)[:, None, None]
        point = eye + t * ray

        def change(of_ray: Tensor) -> Tensor:
            # Of point, while the ray changes by of_ray and stays on the plane.
            moved = t * (of_ray - ray * (of_ray * normal).sum(-1, keepdim=True) / towards)
            return torch.stack(((u[..., :3] * moved).sum(-1), (v[..., :3] * moved).sum(-1)), -1)

        side = torch.cat((self.right, torch.zeros_like(self.eye)[:, None]), -1)[:, None, None]
        below = ray.new_tensor([0.0, 0.0, -1.0])
        uv = torch.stack(
            ((u[..., :3] * point).sum(-1) + u[..., 3], (v[..., :3] * point).sum(-1) + v[..., 3]), -1
        )
        return uv, change(side * self.slope), change(below * self.slope)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Positive where b turns left from a, both (x, z)."""
    return a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]


def _sample(
    textures: Textures, texture: Tensor, uv: Tensor, rho: Tensor, blend_levels: bool
) -> Tensor:
    """Colours of textures at uv, [N, H, W, 3] from 0 to 1."""
    last = textures.levels.shape[1] - 1
    # Where a sample sees a surface that runs into the horizon of the pixel's middle.
    rho = rho.nan_to_num(torch.inf, torch.inf)
    level = torch.log2(rho.clamp(1.0, 2.0**last))
    uv = uv.nan_to_num(0.0, 0.0, 0.0).clamp(-1e6, 1e6)
    if not blend_levels:
        return _blend_texels(textures, texture, torch.floor(level + 0.5).long(), uv)
    lower = level.floor().clamp_max(max(0, last - 1))
    share = (level - lower)[..., None]
    fine = _blend_texels(textures, texture, lower.long(), uv)
    coarse = _blend_texels(textures, texture, (lower.long() + 1).clamp_max(last), uv)
    return fine + (coarse - fine) * share


def _blend_texels(textures: Textures, texture: Tensor, level: Tensor, uv: Tensor) -> Tensor:
    """Of the four texels around uv, by nearness; a texel's colour is that of its middle."""
    begins, width, height = textures.levels[texture, level].long().unbind(-1)
    x, y = uv[..., 0] * width - 0.5, uv[..., 1] * height - 0.5
    west, south = x.floor(), y.floor()
    right, up = (x - west)[..., None], (y - south)[..., None]
    texels = textures.texels

    def texel(aside: int, above: int) -> Tensor:
        column = torch.remainder(west.long() + aside, width)
        row = torch.remainder(south.long() + above, height)
        return texels[begins + row * width + column].to(uv.dtype) / 255.0

    lower = texel(0, 0) * (1 - right) + texel(1, 0) * right
    upper = texel(0, 1) * (1 - right) + texel(1, 1) * right
    return lower * (1 - up) + upper * up
