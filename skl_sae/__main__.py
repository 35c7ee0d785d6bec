"""python -m skl_sae: learn images, and print held-out figures beside PCA's."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

PROGRAM = "python -m skl_sae"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments=None):
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parser():
    parser = _Parser(
        prog=PROGRAM,
        description="Train Top-K sparse autoencoders on crops of the two photographs that come "
        "with scikit-learn, print held-out figures beside PCA's, and write codes.npz (the "
        "codes of all rows, training rows first) and training.png.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--n-components", type=int, default=1024, metavar="N", help="atoms of a member")
    add("--k", type=_int_or_fraction, default=64, help="active atoms, or a fraction of N")
    add("--members", type=int, default=3, metavar="E", help="autoencoders side by side")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the training rows")
    add("--batch-size", type=int, default=32, metavar="N", help="rows of a training step")
    add("--learning-rate", type=_float_or_auto, default="auto", metavar="R", help="Adam's step")
    add("--tied", action="store_true", help="encoder = transposed decoder")
    add("--init", choices=["pca", "orthogonal", "random"], default="pca", help="initial atoms")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--seed", type=int, default=0, metavar="N", help="seed of every random choice")
    add("--output", type=Path, default="skl_sae_output", metavar="FOLDER", help="where to write")
    return parser


def _int_or_fraction(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


_int_or_fraction.__name__ = "number"  # what argparse calls it in an error


def _float_or_auto(text):
    return text if text == "auto" else float(text)


_float_or_auto.__name__ = "number"


def _run(options):
    # Here, so that bad options are answered before torch's users have waited for it.
    import scipy.sparse as sp
    from sklearn.decomposition import PCA

    from . import TopKSparseAutoencoder
    from .datasets import load_photographs

    options.output.mkdir(parents=True, exist_ok=True)
    train = load_photographs(800, random_state=options.seed)
    test = load_photographs(200, subset="test", random_state=options.seed)
    height, width, channels = train.image_shape
    print(
        f"{len(train.data)} photograph crops of {height}x{width}x{channels} to learn, "
        f"{len(test.data)} held out, from parts of the photographs not learned."
    )
    sae = TopKSparseAutoencoder(
        options.n_components, k=options.k, n_estimators=options.members, tied=options.tied,
        init=options.init, learning_rate=options.learning_rate, batch_size=options.batch_size,
        max_iter=options.epochs, device=options.device, random_state=options.seed, verbose=1,
    )  # fmt: skip
    start = time.perf_counter()
    sae.fit(train.data)
    seconds = time.perf_counter() - start

    codes = sae.transform(np.concatenate([train.data, test.data]))
    sp.save_npz(options.output / "codes.npz", codes)
    _plot_training(sae, options.output / "training.png")
    held_out = codes[len(train.data) :]
    figures = [("ensemble", sae.inverse_transform(held_out), sae.k_ * options.members)]
    if options.members > 1:
        rows = _member_reconstructions(sae, held_out)
        figures += [(f"member {i}", row, sae.k_) for i, row in enumerate(rows, 1)]
    n_directions = min(sae.k_, len(train.data), train.data.shape[1])
    pca = PCA(n_directions, random_state=options.seed).fit(train.data)
    reconstruction = pca.inverse_transform(pca.transform(test.data))
    figures.append((f"PCA, {n_directions} components", reconstruction, n_directions))
    _print_table(figures, train.data, test.data)
    _print_summary(sae, train.data, seconds)
    print(f"Wrote {options.output / 'codes.npz'} and {options.output / 'training.png'}.")


def _member_reconstructions(sae, codes):
    """Each member's own reconstruction of rows from the members' codes side by side."""
    n_components = sae.n_components
    for e, center in enumerate(sae.centers_):
        atoms = slice(e * n_components, (e + 1) * n_components)
        yield codes[:, atoms] @ sae.components_[atoms] + center


def _print_table(figures, train, test):
    from . import pearson_correlation

    spread = np.square(test - train.mean(axis=0)).sum()
    width = max(len(name) for name, *_ in figures)
    print(f"\nHeld out{'':{width - 8}}  correlation  variance unexplained  active numbers")
    for name, reconstruction, n_active in figures:
        correlation = pearson_correlation(test, reconstruction)
        unexplained = np.square(test - reconstruction).sum() / spread
        print(f"{name:{width}}  {correlation:11.4f}  {unexplained:20.4f}  {n_active:14d}")


def _print_summary(sae, train, seconds):
    n_dead = int((sae.feature_frequency_ == 0).sum())
    n_rows = sae.n_iter_ * len(train)
    print(
        f"\n{n_dead} of {len(sae.components_)} atoms dead in the last epoch; "
        f"trained in {seconds:.1f} s, {n_rows / seconds:.0f} rows a second."
    )


def _plot_training(sae, path):
    """Loss and correlation by epoch, as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    curves = {
        "Training loss": sae.loss_curve_,
        "Correlation of the training rows": sae.correlation_curve_,
    }
    for axes, (title, curve) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        axes.plot(range(1, len(curve) + 1), curve, marker="o", markersize=3)
        axes.set(title=title, xlabel="Epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
