"""Geometry and light of image variants: homographies, resampling, brightness and contrast.

A homography is a 3 x 3 matrix that maps points (x, y, 1) to points (u w, v w, w) of the plane.
Coordinates are relative to the centre of the image, in units of half its width and half its
height, so its corners are at -1 and 1.
"""

import numpy as np
import torch

CORNERS = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def _identities(n):
    return np.tile(np.eye(3), (n, 1, 1))


def scale_maps(x, y):
    """Return maps that multiply coordinates; -1 makes a flip."""
    maps = _identities(len(x))
    maps[:, 0, 0], maps[:, 1, 1] = x, y
    return maps


def shift_maps(x, y):
    """Return maps that add to coordinates."""
    maps = _identities(len(x))
    maps[:, 0, 2], maps[:, 1, 2] = x, y
    return maps


def crop_maps(x, y):
    """Return maps of the image onto itself cropped, by (2, n) fractions of its sides.

    A row of x or y is the fraction cut off at the lower or at the upper end.
    """
    # Coordinates go from -1 to 1: a fraction f cut from one end moves the centre by f.
    scaled = scale_maps(1 - x.sum(axis=0), 1 - y.sum(axis=0))
    return shift_maps(x[0] - x[1], y[0] - y[1]) @ scaled


def rotation_maps(angles, aspect):
    """Return rotations by angles in pixels, where the width is aspect times the height."""
    maps = _identities(len(angles))
    # S^-1 R S, where S = diag(aspect, 1, 1) makes the units of x and y equally long.
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angles)
    maps[:, 0, 1], maps[:, 1, 0] = -np.sin(angles) / aspect, np.sin(angles) * aspect
    return maps


def corner_maps(corners):
    """Return maps of the image's corners onto others, (n, 4, 2).

    With ``h`` the first eight numbers of the map, the ninth being 1, a corner (x, y) goes to
    (u, v) if ``(x, y, 1) . h[:3] - u (x, y) . h[6:8] = u``, and likewise for v with ``h[3:6]``:
    eight linear equations for eight numbers.
    """
    n = len(corners)
    equations = np.zeros((n, 2, 4, 8))
    equations[:, 0, :, 0:2] = equations[:, 1, :, 3:5] = CORNERS
    equations[:, 0, :, 2] = equations[:, 1, :, 5] = 1
    # The unknowns 6 and 7 are multiplied by the target itself.
    targets = corners.transpose(0, 2, 1)  # (n, 2, 4): all u, then all v
    equations[..., 6:8] = -targets[..., None] * CORNERS
    solution = np.linalg.solve(equations.reshape(n, 8, 8), targets.reshape(n, 8, 1))
    return np.concatenate([solution[..., 0], np.ones((n, 1))], axis=1).reshape(n, 3, 3)


# --- Pixels ---
# A variant has the same bits whatever is computed beside it and with any number of threads. So
# there is no matrix product here and no sum by torch, whose order depends on how work is split: all
# operations round one number at a time, or sum over one image at a time.


def resample(images, maps):
    """Interpolate (n, H, W, C) images bilinearly where maps send the centres of the pixels."""
    n, height, width, _ = images.shape
    grid = images.new_empty((n, height, width, 2))
    u, v, w = _mapped_pixels(maps, height, width, images.dtype)
    torch.div(u, w, out=grid[..., 0])
    torch.div(v, w, out=grid[..., 1])
    # Beyond the border the image is mirrored, as if nothing had been cut.
    variants = torch.nn.functional.grid_sample(
        images.permute(0, 3, 1, 2), grid, padding_mode="reflection", align_corners=False
    )
    return variants.permute(0, 2, 3, 1)


def _mapped_pixels(maps, height, width, dtype):
    """Map the centres of the pixels by (n, 3, 3) maps to three (n, H, W), homogeneous.

    A coordinate is ``m0 x + m1 y + m2``. The first term is the same in a column and the others in
    a row, so they are few numbers, which are computed in float64.
    """
    down, right = (
        (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1 for side in (height, width)
    )
    x, y, one = maps.double().unsqueeze(3).unbind(2)  # (n, 3, 1) each
    by_column, by_row = (x * right).to(dtype), (y * down + one).to(dtype)
    return (by_column[:, :, None, :] + by_row[:, :, :, None]).unbind(1)


def change_light(images, brightness, contrast):
    """Multiply the values by brightness, then their differences from their mean by contrast.

    In place, and simplified: with the mean m of x, ``b m + c (b x - b m) = b c x + b (1 - c) m``.
    """
    brightness, contrast = (gain.to(images)[:, None, None, None] for gain in (brightness, contrast))
    # NumPy sums each row by itself. The rows are views: images has its channels first in memory.
    sums = np.add.reduce(images.permute(0, 3, 1, 2).flatten(1).numpy(), axis=1)
    mean = torch.from_numpy(sums)[:, None, None, None] / images[0].numel()
    images *= brightness * contrast
    images += brightness * (1 - contrast) * mean
    images.clamp_(0, 1)
