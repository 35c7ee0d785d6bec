"""Displays in scikit-learn's manner: training, atoms, reconstructions, use, classes, searches.

``from_estimator`` and its like compute and draw. ``plot`` draws again, on an Axes of yours where
one is given. What was drawn on is kept as ``ax_`` (``axes_`` where there are several) and
``figure_``. Nothing is shown or saved: that is up to a notebook, ``pyplot.show`` or
``display.figure_.savefig``.
"""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..inspection import atom_usage
from ..inspection._activations import activations_of, check_atom
from ..inspection._estimators import atoms_of_codes, fitted_step
from ._axes import new_axes
from ._pictures import AtomDisplay, ReconstructionDisplay
from ._tables import SearchDisplay, SelectivityDisplay

__all__ = [
    "ActivationDisplay",
    "AtomDisplay",
    "ReconstructionDisplay",
    "SearchDisplay",
    "SelectivityDisplay",
    "TrainingDisplay",
    "UsageDisplay",
]


class TrainingDisplay:
    """Loss and correlation by epoch.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    correlation_curve : array-like of shape (n_epochs,)
        Correlation of the training rows with their reconstructions in each epoch.
    validation_scores : array-like of shape (n_epochs,) or None, default=None
        Correlation of the rows that early stopping held out.

    Attributes
    ----------
    axes_ : ndarray of shape (2,)
        The Axes of the loss and of the correlation.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import TrainingDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = TrainingDisplay.from_estimator(sae)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['Training loss', 'Correlation']
    """

    def __init__(self, loss_curve, correlation_curve, validation_scores=None):
        self.loss_curve = loss_curve
        self.correlation_curve = correlation_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(cls, estimator, *, axes=None):
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : TopKSparseAutoencoder
            A fitted autoencoder, or a Pipeline that ends with one.
        axes : array-like of 2 matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : TrainingDisplay
            What was drawn.
        """
        estimator, _ = fitted_step(estimator, needs="loss_curve_")
        display = cls(
            estimator.loss_curve_, estimator.correlation_curve_, estimator.validation_scores_
        )
        return display.plot(axes)

    def plot(self, axes=None):
        """Draw the curves.

        Parameters
        ----------
        axes : array-like of 2 matplotlib Axes or None, default=None
            Where to draw the loss and the correlation; None makes a figure.

        Returns
        -------
        display : TrainingDisplay
            Itself.
        """
        if axes is None:
            axes = new_axes(1, 2, figsize=(8, 3.2))
        axes = np.ravel(axes)
        if len(axes) != 2:
            raise ValueError(f"Expected 2 Axes, got {len(axes)}.")
        epochs = np.arange(1, len(self.loss_curve) + 1)
        style = {"marker": "o", "markersize": 3} if len(epochs) <= 50 else {}
        axes[0].plot(epochs, self.loss_curve, label="Training rows", **style)
        axes[1].plot(epochs, self.correlation_curve, label="Training rows", **style)
        if self.validation_scores is not None:
            style = {"marker": "s", "markersize": 3} if style else {}
            axes[1].plot(epochs, self.validation_scores, "--", label="Held-out rows", **style)
            axes[1].legend()
        for ax, ylabel in zip(axes, ("Training loss", "Correlation"), strict=True):
            ax.set(xlabel="Epoch", ylabel=ylabel)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self


class UsageDisplay:
    """How few atoms carry most of the reconstruction.

    The curve is the share of the reconstruction that the atoms of the largest shares have
    together (see :func:`skl_sae.inspection.atom_usage`), with a mark at 80 %.

    Parameters
    ----------
    usage : Bunch
        What :func:`skl_sae.inspection.atom_usage` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import UsageDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = UsageDisplay.from_estimator(sae, X)
    >>> display.ax_.get_ylabel()
    'Share of the reconstruction'
    """

    def __init__(self, usage):
        self.usage = usage

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None):
        """Draw the use that a fitted estimator makes of its atoms on the rows of X.

        Parameters
        ----------
        estimator : estimator with ``components_`` and transform
            A fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            What the estimator transforms.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : UsageDisplay
            What was drawn.
        """
        estimator, X = fitted_step(estimator, X, needs="components_")
        return cls.from_codes(estimator.transform(X), atoms_of_codes(estimator), ax=ax)

    @classmethod
    def from_codes(cls, codes, components=None, *, ax=None):
        """Draw the use of atoms in codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        components : array-like of shape (n_atoms, n_features) or None, default=None
            The atoms. None stands for atoms of unit norm.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : UsageDisplay
            What was drawn.
        """
        return cls(atom_usage(codes, components)).plot(ax)

    def plot(self, ax=None):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : UsageDisplay
            Itself.
        """
        ax = new_axes() if ax is None else ax
        usage, n_atoms = self.usage, len(self.usage.share)
        running = np.cumsum(np.sort(usage.share)[::-1])
        ax.plot(np.arange(n_atoms + 1), [0, *running])
        n = usage.atoms_for_80
        ax.plot([0, n, n], [0.8, 0.8, 0], ":", color="0.4")
        ax.plot(n, 0.8, "o", color="C0")
        ax.annotate(
            f"{n} of {n_atoms} atoms ({100 * usage.fraction_for_80:.0f} %)\nhave 80 %",
            (n, 0.8), xytext=(8, -8), textcoords="offset points", va="top",
        )  # fmt: skip
        n_dead = np.count_nonzero(usage.dead)
        if n_dead:
            label = f"{n_dead} dead"
            ax.axvspan(n_atoms - n_dead, n_atoms, color="0.5", alpha=0.2, lw=0, label=label)
            ax.legend(loc="lower right")
        ax.set(xlabel="Atoms, largest share first", ylabel="Share of the reconstruction")
        ax.set(xlim=(0, n_atoms), ylim=(0, 1.02))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        ax.grid(alpha=0.3)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ActivationDisplay:
    """How strongly atoms fire: a histogram of activations, with logarithmic counts.

    Parameters
    ----------
    activations : array-like of shape (n_active,)
        The activations: absolute values of the codes that are not 0.
    n_codes : int
        Number of codes, those that are 0 among them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import ActivationDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = ActivationDisplay.from_estimator(sae, X)
    >>> display.ax_.get_yscale()
    'log'
    """

    def __init__(self, activations, n_codes):
        self.activations = activations
        self.n_codes = n_codes

    @classmethod
    def from_estimator(cls, estimator, X, *, atom=None, ax=None, **kwargs):
        """Draw the activations of a fitted estimator's atoms on the rows of X.

        Parameters
        ----------
        estimator : estimator with transform
            A fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            What the estimator transforms.
        atom : int or None, default=None
            See :meth:`from_codes`.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
            What was drawn.
        """
        return cls.from_codes(estimator.transform(X), atom=atom, ax=ax, **kwargs)

    @classmethod
    def from_codes(cls, codes, *, atom=None, ax=None, **kwargs):
        """Draw the activations in codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        atom : int or None, default=None
            The atom, a column of codes; None takes all together.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If there is no such atom.
        """
        activations = activations_of(codes)
        if atom is not None:
            check_atom(atom, activations.shape[1])
            activations = activations[:, [atom]]
        return cls(activations.data, math.prod(activations.shape)).plot(ax, **kwargs)

    def plot(self, ax=None, *, bins=50):
        """Draw the histogram.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        bins : int, str or array-like, default=50
            See :func:`numpy.histogram`.

        Returns
        -------
        display : ActivationDisplay
            Itself.
        """
        ax = new_axes() if ax is None else ax
        counts, edges = np.histogram(self.activations, bins=bins)
        ax.set_yscale("log", nonpositive="clip")
        ax.stairs(counts, edges, fill=True, baseline=0.5)
        ax.set_ylim(0.5, 2 * max(counts.max(), 1))
        percent = 100 * len(self.activations) / self.n_codes
        ax.set_title(f"{percent:.1f} % of the codes are not 0", fontsize="medium")
        ax.set(xlabel="Activation", ylabel="Number of codes")
        ax.grid(alpha=0.3)
        self.ax_, self.figure_ = ax, ax.figure
        return self
