"""Draw the picture of the README and of the front page: python docs/make_picture.py

The autoencoder learns crops of scikit-learn's two sample photographs. Held-out images come from
parts of the photographs that no training crop touches. The script takes about a minute; the seeds
are fixed.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from sklearn.decomposition import PCA

from skl_sae import TopKSparseAutoencoder, reconstruction_correlation
from skl_sae.datasets import load_photographs

matplotlib.use("Agg")

PATH = Path(__file__).parent / "_static" / "overview.png"
WIDTH, HEIGHT, DPI = 1200, 560, 100  # in pixels
PANEL, INK, SOFT, ACCENT = "#f8f6f1", "#24292f", "#6b6f76", "#1f6f8b"

SIDE, N_ATOMS, K = 16, 512, 20
SHOWN = 6  # which held-out crop
N_TERMS = 5  # of its code, those with the largest activations
ROWS, COLUMNS, EVERY = 7, 6, 6  # the atoms shown: every sixth, most used first


def fitted():
    """The autoencoder, PCA with as many numbers, and the held-out crops."""
    train = load_photographs(8000, (SIDE, SIDE)).data
    test = load_photographs(200, (SIDE, SIDE), subset="test").data
    sae = TopKSparseAutoencoder(
        N_ATOMS, k=K, transform_algorithm="omp", max_iter=20, random_state=0
    ).fit(train)
    return sae, PCA(K, random_state=0).fit(train), test


class Page:
    """A figure addressed in pixels from the top left corner."""

    def __init__(self):
        self.figure = plt.figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        self.figure.patch.set_alpha(0)
        panel = FancyBboxPatch(
            (0.5, 0.5), WIDTH - 1, HEIGHT - 1, boxstyle="round,pad=0,rounding_size=18",
            facecolor=PANEL, edgecolor="#d9d4c7", linewidth=1,
        )  # fmt: skip
        ax = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        ax.axis("off")
        ax.add_patch(panel)

    def image(self, pixels, left, top, side, interpolation="nearest"):
        """One image; colours outside [0, 1] are clipped."""
        box = left / WIDTH, 1 - (top + side) / HEIGHT, side / WIDTH, side / HEIGHT
        ax = self.figure.add_axes(box)
        ax.imshow(pixels.reshape(SIDE, SIDE, 3).clip(0, 1), interpolation=interpolation)
        ax.axis("off")

    def text(self, words, x, y, size=22, colour=INK, **style):
        """Words centred on x and y; the size in pixels."""
        style = {"ha": "center", "va": "center", **style}
        self.figure.text(
            x / WIDTH, 1 - y / HEIGHT, words, fontsize=size * 72 / DPI, color=colour, **style
        )


def tinted(atom):
    """An atom as an image: grey where it is 0."""
    return 0.5 + 0.5 * atom / np.abs(atom).max()


def draw(sae, pca, test):
    """Atoms on the left, a code above on the right, and below what comes of it and of PCA."""
    page = Page()
    draw_atoms(page, sae, left=32)
    draw_code(page, sae, test[[SHOWN]], left=430)
    draw_reconstructions(page, sae, pca, test, left=430)
    return page.figure


def draw_atoms(page, sae, left):
    page.text(f"{N_ATOMS} learned atoms", left, 40, 26, ha="left", weight="bold")
    order = np.argsort(-sae.atom_frequency_)[: EVERY * ROWS * COLUMNS : EVERY]
    for i, atom in enumerate(order):
        row, column = divmod(i, COLUMNS)
        # A pixel of an atom is three of the picture's.
        page.image(tinted(sae.components_[atom]), left + 57 * column, 72 + 57 * row, 3 * SIDE)
    page.text(f"{len(order)} of them, {SIDE}x{SIDE} pixels", left, 492, 22, SOFT, ha="left")


def draw_code(page, sae, X, left):
    page.text("A held-out image is a sum of a few of them", left, 40, 26, ha="left", weight="bold")
    side, pitch, middle = 5 * SIDE, 116, 72 + 5 * SIDE / 2
    page.image(sae.centers_[0], left, 72, side)
    page.text("centre", left + side / 2, 176, 20, SOFT)
    code = sae.transform(X)
    for j in np.argsort(-np.abs(code.data))[:N_TERMS]:
        left += pitch
        activation, atom = code.data[j], sae.components_[code.indices[j]]
        sign = "+" if activation > 0 else "\N{MINUS SIGN}"
        page.text(sign, left - (pitch - side) / 2, middle, 30, ACCENT)
        page.image(tinted(atom), left, 72, side)
        times = f"\N{MULTIPLICATION SIGN} {abs(activation):.1f}"
        page.text(times, left + side / 2, 176, 20, SOFT)
    page.text("+ \N{HORIZONTAL ELLIPSIS}", left + side + 36, middle, 30, ACCENT)


def draw_reconstructions(page, sae, pca, test, left):
    X, side, pitch = test[[SHOWN]], 14 * SIDE, 252
    page.image(X[0], left, 220, side, "bicubic")
    page.text("held-out image", left + side / 2, 466, 24)
    page.text("mean correlation", left + side / 2, 498, 22, SOFT)
    page.text(f"of {len(test)} such images", left + side / 2, 526, 22, SOFT)
    for name, model in {f"{K} atoms, by OMP": sae, f"PCA, {K} components": pca}.items():
        left += pitch
        page.image(model.inverse_transform(model.transform(X))[0], left, 220, side, "bicubic")
        page.text(name, left + side / 2, 466, 24)
        score = f"{reconstruction_correlation(model, test):.2f}"
        page.text(score, left + side / 2, 502, 30, ACCENT, weight="bold")


def main():
    figure = draw(*fitted())
    figure.savefig(PATH, dpi=DPI)
    picture = Image.open(PATH)
    picture.save(PATH, optimize=True)
    print(f"{PATH}: {picture.width}x{picture.height}, {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
