"""Draw the guide's diagrams of files and processes: python docs/make_diagrams.py"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

matplotlib.use("Agg")

FOLDER = Path(__file__).parent / "_static"
INK, LINE = "#24292f", "#6b6f76"
COLOURS = {"plain": "#f1efe8", "model": "#d7e7ec", "other": "#f4dfc8"}

# Of each diagram: its height, boxes (name, left, middle, width, kind), and arrows (from, to,
# words). The unit is a hundredth of the width.
DIAGRAMS = {
    "saving": (
        30,
        [
            ("estimator,\nfitted", 0, 15, 18, "model"),
            ("model.safetensors", 38, 25, 26, "plain"),
            ("pickle, joblib, skops", 38, 15, 26, "plain"),
            ("SAELens, sparsify, ...", 38, 5, 26, "other"),
            ("anyone,\nany machine", 80, 25, 20, "model"),
            ("your own\nmachines", 80, 15, 20, "model"),
            ("other libraries", 80, 5, 20, "other"),
        ],
        [(0, 1, "save"), (0, 2, "dump"), (0, 3, "interop"), (1, 4, "load"), (2, 5, "load"),
         (3, 6, "theirs")],
    ),
    "command": (
        30,
        [
            ("folder of images,\nsub-folders are classes", 0, 15, 28, "plain"),
            ("model.safetensors", 46, 25, 22, "model"),
            ("codes, curves", 46, 15, 22, "model"),
            ("report.html", 46, 5, 22, "model"),
            ("codes of\nother images", 84, 25, 16, "other"),
            ("report on\nother images", 84, 8, 16, "other"),
        ],
        [(0, 1, ""), (0, 2, "fit"), (0, 3, ""), (1, 4, "transform"), (1, 5, "report")],
    ),
    "interop": (
        30,
        [
            ("TopKSparseAutoencoder", 0, 15, 28, "model"),
            ("folder with the\nweights and cfg.json", 40, 15, 25, "plain"),
            ("SAELens", 80, 26, 20, "other"),
            ("sparsify", 80, 18.7, 20, "other"),
            ("dictionary_learning", 80, 11.3, 20, "other"),
            ("saev", 80, 4, 20, "other"),
        ],
        [(0, 1, "to_..."), (1, 0, "from_..."), (1, 2, ""), (1, 3, ""), (1, 4, ""), (1, 5, "")],
    ),
    "clusters": (
        30,
        [
            ("GridSearchCV\non your machine", 0, 15, 24, "model"),
            ("joblib's backend:\nDask or Ray", 38, 15, 22, "plain"),
            ("worker: k=2, fold 1", 76, 25, 24, "other"),
            ("worker: k=2, fold 2", 76, 15, 24, "other"),
            ("worker: k=8, fold 1", 76, 5, 24, "other"),
        ],
        [(0, 1, "fits"), (1, 2, ""), (1, 3, "X once"), (1, 4, "")],
    ),
    "processes": (
        30,
        [
            ("X, in every process", 0, 15, 22, "plain"),
            ("rank 0: atoms 0 to 1,535", 36, 24, 30, "model"),
            ("rank 1: atoms 1,536 to 3,071", 36, 6, 30, "model"),
            ("the k largest\nof all", 80, 15, 20, "plain"),
        ],
        [(0, 1, "batch"), (0, 2, "batch"), (1, 3, "k largest"), (2, 3, "k largest")],
    ),
}  # fmt: skip


def draw(height, boxes, arrows):
    """One diagram on a white figure."""
    figure = plt.figure(figsize=(7.2, 7.2 * (height + 4) / 104), dpi=150)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(-2, 102), ylim=(-2, height + 2))
    ax.axis("off")
    for words, left, middle, width, kind in boxes:
        high = 3.4 + 2.4 * words.count("\n")
        ax.add_patch(FancyBboxPatch(
            (left + 1, middle - high / 2), width - 2, high, boxstyle="round,pad=1",
            facecolor=COLOURS[kind], edgecolor=LINE, linewidth=0.8,
        ))  # fmt: skip
        ax.text(left + width / 2, middle, words, ha="center", va="center", color=INK, fontsize=8)
    for start, end, words in arrows:
        connect(ax, boxes[start], boxes[end], words)
    return figure


def connect(ax, start, end, words):
    """An arrow between the sides that face each other, above or below the middle if both ways."""
    is_back = end[1] < start[1]
    side = -2 if is_back else 2 if "to_" in words else 0
    tail = (start[1] if is_back else start[1] + start[3], start[2] + side)
    head = (end[1] + end[3] if is_back else end[1], end[2] + side)
    style = {"arrowstyle": "->", "color": LINE, "shrinkA": 4, "shrinkB": 4}
    ax.annotate("", head, tail, arrowprops=style)
    middle = (tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2
    if words:
        style = {"fontsize": 7.5, "color": LINE, "style": "italic", "ha": "center", "va": "center"}
        ax.text(*middle, words, bbox={"facecolor": "white", "linewidth": 0, "pad": 1}, **style)


def main():
    for name, diagram in DIAGRAMS.items():
        draw(*diagram).savefig(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
