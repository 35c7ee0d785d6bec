"""SearchDisplay: scores of a parameter search."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._axes import label_cells, new_axes
from ._display import _Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

_MARKERS = "osD^vPX*"


class SearchDisplay(_Display):
    """Scores of a search over two parameters, such as k and n_components.

    Parameters
    ----------
    scores : array-like of shape (n_groups, n_values)
        Mean scores over the folds; NaN if there is none.
    deviations : array-like of shape (n_groups, n_values)
        Standard deviations of the scores over the folds.
    groups : sequence of length n_groups
        Values of one parameter: a curve, or a row of the heat map, for each.
    values : sequence of length n_values
        Values of the other parameter, along the horizontal axis.
    names : tuple of (str, str)
        Names of the two parameters; the first is empty if there is only one.
    score_name : str, default="Correlation"
        Name of the score.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the drawing.
    figure_ : matplotlib Figure
        Figure of the Axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import SearchDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(max_iter=2, random_state=0)
    >>> search = GridSearchCV(sae, {"k": [2, 4], "n_components": [16, 32, 64]}, cv=2).fit(X)
    >>> display = SearchDisplay.from_estimator(search)
    >>> display.names, display.scores.shape
    (('n_components', 'k'), (3, 2))
    """

    def __init__(
        self,
        scores: ArrayLike,
        deviations: ArrayLike,
        *,
        groups: Sequence[Any],
        values: Sequence[Any],
        names: tuple[str, str],
        score_name: str = "Correlation",
    ) -> None:
        self.scores = scores
        self.deviations = deviations
        self.groups = groups
        self.values = values
        self.names = names
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, search: Any, **kwargs: Any) -> Self:
        """Draw the scores of a fitted search.

        Parameters
        ----------
        search : GridSearchCV or similar
            Fitted search.
        **kwargs : dict
            Other parameters of :meth:`from_results`.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.
        """
        check_is_fitted(search, "cv_results_")
        return cls.from_results(search.cv_results_, **kwargs)

    @classmethod
    def from_results(
        cls,
        cv_results: Mapping[str, Any],
        *,
        x: str = "k",
        group: str | None = "n_components",
        scoring: str = "score",
        score_name: str = "Correlation",
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the scores in a search's ``cv_results_``.

        If other parameters were searched too, the best of their combinations is shown.

        Parameters
        ----------
        cv_results : dict
            ``cv_results_`` of a fitted search.
        x, group : str, default="k" and "n_components"
            Parameters to show, without the names of a Pipeline's steps unless these are needed
            to distinguish them. One of the two need not have been searched.
        scoring : str, default="score"
            Key of the score: "score" unless the search had several.
        score_name : str, default="Correlation"
            Name of the score.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If neither parameter was searched, or a name is ambiguous, or there is no such
            score.
        """
        _check_scoring(cv_results, scoring)
        names, places = _places(cv_results["params"], group, x)
        groups, values = map(_distinct, zip(*places, strict=True))
        scores, deviations = _best_scores(cv_results, scoring, places, groups, values)
        display = cls(
            scores,
            deviations,
            groups=groups,
            values=values,
            names=names,
            score_name=score_name,
        )
        return display.plot(ax, **kwargs)

    def plot(
        self, ax: "Axes | None" = None, *, kind: str = "curves", cmap: "str | Colormap" = "viridis"
    ) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        kind : {"curves", "heatmap"}, default="curves"
            Kind of plot: curves with error bars of one standard deviation over the folds, or
            a heat map.
        cmap : str or matplotlib Colormap, default="viridis"
            Sequential colour map of the curves or of the heat map.

        Returns
        -------
        display : SearchDisplay
            The display itself.
        """
        if kind not in ("curves", "heatmap"):
            raise ValueError(f"Expected kind='curves' or 'heatmap', got {kind!r}.")
        ax = new_axes() if ax is None else ax
        cmap = mpl.colormaps.get_cmap(cmap)
        (self._draw_curves if kind == "curves" else self._draw_heatmap)(ax, cmap)
        ax.set_xlabel(self.names[1])
        return self._drawn_on(ax)

    def _draw_curves(self, ax, cmap):
        n_groups = len(self.groups)
        for i, group in enumerate(self.groups):
            # Shifted, so that no bar hides another. The end of the map is too light on white.
            shift = (i + 1) / (n_groups + 1) - 0.5
            ax.errorbar(
                np.arange(len(self.values)) + 0.4 * shift,
                self.scores[i],
                self.deviations[i],
                marker=_MARKERS[i % len(_MARKERS)],
                capsize=3,
                label=str(group),
                color=cmap(0.85 * i / max(n_groups - 1, 1)),
            )
        ax.set_xticks(range(len(self.values)), list(map(str, self.values)))
        ax.set_xlim(-0.5, len(self.values) - 0.5)
        ax.set_ylabel(f"{self.score_name}, held out")
        ax.grid(alpha=0.3)
        if self.names[0]:
            ax.legend(title=self.names[0])

    def _draw_heatmap(self, ax, cmap):
        image = ax.imshow(self.scores, cmap=cmap, aspect="auto", interpolation="nearest")
        ax.figure.colorbar(image, ax=ax, label=f"{self.score_name}, held out")
        width, height = label_cells(ax, list(map(str, self.values)), list(map(str, self.groups)))
        size = min(9, 0.8 * height, width / (0.65 * len("0.000")))
        for (i, j), score in np.ndenumerate(self.scores):
            if size >= 5 and np.isfinite(score):  # smaller is illegible
                # Black on light colours, by their luma (ITU-R BT.601), else white.
                light = np.dot(image.to_rgba(score)[:3], (0.299, 0.587, 0.114)) > 0.5
                colour = "k" if light else "w"
                ax.text(j, i, f"{score:.3f}", color=colour, size=size, ha="center", va="center")
        ax.set_ylabel(self.names[0])


def _check_scoring(cv_results, scoring):
    if f"mean_test_{scoring}" not in cv_results:
        prefix = "mean_test_"
        names = [name.removeprefix(prefix) for name in cv_results if name.startswith(prefix)]
        raise ValueError(f"Expected scoring to be one of {names}, got {scoring!r}.")


def _places(params, group, x):
    """Return the names of the searched ones of two parameters, and their values in each fit."""
    searched = list(dict.fromkeys(name for fit in params for name in fit))
    keys = {name: _searched_name(name, searched) for name in (group, x)}
    shown = [name for name in keys if keys[name] is not None]
    if not shown:
        raise ValueError(f"Expected a search over {x!r} or {group!r}, got one over {searched}.")
    x = shown[-1]
    # Of one parameter alone there is one group, without a name.
    group = shown[0] if len(shown) == 2 else ""
    places = [(fit.get(keys.get(group), ""), fit.get(keys[x], "")) for fit in params]
    return (group, x), places


def _best_scores(cv_results, scoring, places, groups, values):
    """Return tables of the best mean score at each place, and of its standard deviation."""
    scores = np.full((len(groups), len(values)), np.nan)
    deviations = scores.copy()
    means = np.asarray(cv_results[f"mean_test_{scoring}"], dtype=float)
    # In ascending order, failed fits (NaN) first, so that the best is written last.
    for i in np.argsort(np.nan_to_num(means, nan=-np.inf), kind="stable"):
        group, value = places[i]
        cell = groups.index(group), values.index(value)
        scores[cell], deviations[cell] = means[i], cv_results[f"std_test_{scoring}"][i]
    return scores, deviations


def _searched_name(name, searched):
    """Return a parameter's name in the search, maybe of a Pipeline's step; None if absent."""
    if name in searched:
        return name
    found = [key for key in searched if key.endswith(f"__{name}")]
    if len(found) > 1:
        raise ValueError(f"Expected the full name of one parameter {name!r}, got {found}.")
    return found[0] if found else None


def _distinct(values):
    """Return each value once, sorted, numbers first."""
    values = list(dict.fromkeys(values))
    numbers = sorted(value for value in values if isinstance(value, Real))
    return numbers + sorted((v for v in values if not isinstance(v, Real)), key=str)
