"""Places: where in an image small atoms are looked for."""

import math

import torch

from .kernels._parcels import PlaceOffsets


class Places:
    """A grid of places, each of which holds an atom, over images stored as rows.

    Where places overlap, they begin outside the image, so that pixels at its edge lie in as many
    patches as others. There, and where the last places reach over its end, the image goes on with
    the pixels of its edge. What an atom has in this margin is cut off.

    Parameters
    ----------
    image_shape : tuple (H, W, C)
        Shape of an image.
    atom_shape : tuple (h, w, C)
        Shape of an atom.
    stride : tuple (vertical, horizontal)
        Distance of places in pixels.
    inside : bool, default=False
        Whether places begin inside the image even where they overlap.

    Attributes
    ----------
    counts : tuple (rows, columns)
        Number of places in both directions.
    """

    def __init__(self, image_shape, atom_shape, stride, inside=False):
        self.image_shape, self.atom_shape, self.stride = image_shape, atom_shape, stride
        sides = list(zip(image_shape, atom_shape, stride, strict=False))
        # Pixels by which places begin before the image, and end behind it.
        outside = [0 if inside else atom - step for _, atom, step in sides]
        self.counts = tuple(
            1 + -(-(side + 2 * before - atom) // step)
            for (side, atom, step), before in zip(sides, outside, strict=True)
        )
        framed = [
            (n - 1) * step + atom for n, (_, atom, step) in zip(self.counts, sides, strict=True)
        ]
        self.framed_shape = *framed, image_shape[2]
        # Of the margin, half comes before the image.
        self.first = tuple((f - side) // 2 for f, side in zip(framed, image_shape, strict=False))
        self.has_margin = self.framed_shape != tuple(image_shape)
        self.n_framed = math.prod(self.framed_shape)
        self.n_features = math.prod(image_shape)
        self.atom_size = math.prod(atom_shape)
        self._indices = {}  # by device

    def __len__(self):
        return math.prod(self.counts)

    def inner(self):
        """The places of this grid inside the image, and their indices in it.

        All of them, where those inside do not cover every pixel.
        """
        sides = list(zip(self.image_shape, self.atom_shape, self.stride, strict=False))
        if any(atom % step or (side - atom) % step for side, atom, step in sides):
            return self, torch.arange(len(self))
        inner = Places(self.image_shape, self.atom_shape, self.stride, inside=True)
        first = [top // step for top, step in zip(self.first, self.stride, strict=True)]
        rows, columns = (
            torch.arange(n) + begin for n, begin in zip(inner.counts, first, strict=True)
        )
        return inner, (rows[:, None] * self.counts[1] + columns).flatten()

    def without_overlap(self):
        """The same atoms at a stride of their own size."""
        return Places(self.image_shape, self.atom_shape, self.atom_shape[:2])

    def side_by_side(self, n):
        """Places of n atoms that stand one below the other, without overlap."""
        height, width, n_channels = self.atom_shape
        return Places((n * height, width, n_channels), self.atom_shape, (height, width))

    @property
    def offsets(self):
        """Offsets of a patch's lines in a framed image that is one row, for compiled loops."""
        height, width, n_channels = self.atom_shape
        line = self.framed_shape[1] * n_channels
        down = torch.arange(self.counts[0]) * self.stride[0] * line
        right = torch.arange(self.counts[1]) * self.stride[1] * n_channels
        begins = (down[:, None] + right).flatten().numpy()
        return PlaceOffsets(begins, height, width * n_channels, line)

    def frame(self, rows):
        """Add the margin to images (B, H W C); without one they are the same tensor."""
        if not self.has_margin:
            return rows
        images = rows.view(len(rows), *self.image_shape)
        for axis in (0, 1):
            at = torch.arange(self.framed_shape[axis], device=rows.device) - self.first[axis]
            images = images.index_select(axis + 1, at.clamp_(0, self.image_shape[axis] - 1))
        return images.view(len(rows), -1)

    def unframe(self, framed):
        """Cut off the margin."""
        if not self.has_margin:
            return framed
        return self._inside(framed.view(-1, *self.framed_shape)).flatten(1)

    def clear_margin(self, framed):
        """Set the margin to 0, in place."""
        if self.has_margin:
            inside = self._inside(framed.view(-1, *self.framed_shape)).clone()
            framed.zero_()
            self._inside(framed.view(-1, *self.framed_shape)).copy_(inside)

    def _inside(self, framed):
        top, left = self.first
        height, width, _ = self.image_shape
        return framed[:, top : top + height, left : left + width]

    def window(self):
        """Weights (D,) of a patch's pixels, whose squares add up to 1 where patches overlap."""
        weights = []
        for side, step in zip(self.atom_shape, self.stride, strict=False):
            rise = torch.sin(math.pi * (torch.arange(side) + 0.5) / side).square()
            # Pixel i of a patch is pixel i + step of the one before.
            total = torch.zeros(side)
            for first in range(step):
                total[first::step] = rise[first::step].sum()
            weights.append((rise / total).sqrt())
        window = weights[0][:, None, None] * weights[1][:, None]
        return window.expand(self.atom_shape).flatten()

    def patches(self, framed, out=None):
        """Patches of framed images (B, L), place by place: (B P, D)."""
        views = framed.as_strided(*self._windows(len(framed)))
        if out is None:
            return views.reshape(-1, self.atom_size)
        out.view(views.shape).copy_(views)
        return out

    def _windows(self, n_images):
        """Shape and strides of all patches, as a view of framed images."""
        height, width, n_channels = self.atom_shape
        line = self.framed_shape[1] * n_channels
        shape = n_images, *self.counts, height, width * n_channels
        steps = self.stride[0] * line, self.stride[1] * n_channels
        return shape, (self.n_framed, *steps, line, 1)

    def add_patches(self, patches, framed):
        """Add patches (B P, D) to framed images (B, L), in place: the transpose of `patches`."""
        device = framed.device
        if device not in self._indices:
            numbers = torch.arange(self.n_framed, device=device)[None]
            self._indices[device] = self.patches(numbers).flatten()
        framed.index_add_(1, self._indices[device], patches.reshape(len(framed), -1))
