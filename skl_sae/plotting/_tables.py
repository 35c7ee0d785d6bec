"""The displays that are tables: atoms by class, and scores by parameters."""

from numbers import Real

import matplotlib as mpl
import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..inspection import class_selectivity, discriminative_atoms
from ._axes import name_cells, new_axes

_MARKERS = "osD^vPX*"


class SelectivityDisplay:
    """The atoms that mark each class best, and what they do on the other classes.

    A row is a class, and a column an atom: first those of the largest AUC for the first class,
    then those for the second, and so on. The colour is the AUC: 0.5 for an atom that says
    nothing of a class, more for one that fires on it rather than on others, less for one that is
    silent on it. A cross marks an atom chosen for a class though it may be by chance.

    Parameters
    ----------
    selectivity : Bunch
        What :func:`skl_sae.inspection.class_selectivity` returns.

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
    >>> from skl_sae.plotting import SelectivityDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit(X)
    >>> display = SelectivityDisplay.from_estimator(sae, X, y, n_atoms=2)
    >>> display.ax_.images[0].get_array().shape
    (10, 20)
    """

    def __init__(self, selectivity):
        self.selectivity = selectivity

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, **kwargs):
        """Draw the selectivity of a fitted estimator's atoms on the rows of X.

        Parameters
        ----------
        estimator : estimator with transform
            A fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            What the estimator transforms.
        y : array-like of shape (n_samples,)
            The class of each row.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SelectivityDisplay
            What was drawn.
        """
        return cls.from_codes(estimator.transform(X), y, ax=ax, **kwargs)

    @classmethod
    def from_codes(cls, codes, y, *, ax=None, **kwargs):
        """Draw the selectivity of the atoms of codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        y : array-like of shape (n_samples,)
            The class of each row.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SelectivityDisplay
            What was drawn.
        """
        return cls(class_selectivity(codes, y)).plot(ax, **kwargs)

    def plot(self, ax=None, *, n_atoms=3, display_labels=None, cmap="PuOr_r"):
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        n_atoms : int, default=3
            Number of atoms of each class.
        display_labels : sequence of str or None, default=None
            Names of the classes, in the order of ``selectivity.classes``.
        cmap : str or matplotlib Colormap, default="PuOr_r"
            A diverging map.

        Returns
        -------
        display : SelectivityDisplay
            Itself.
        """
        ax = new_axes() if ax is None else ax
        selectivity = self.selectivity
        atoms = discriminative_atoms(selectivity, n_atoms).ravel()
        labels = selectivity.classes if display_labels is None else display_labels
        if len(labels) != len(selectivity.classes):
            expected = len(selectivity.classes)
            raise ValueError(f"Expected {expected} display_labels, got {len(labels)}.")
        image = ax.imshow(
            selectivity.auc[:, atoms], vmin=0, vmax=1, cmap=cmap, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        ax.figure.colorbar(image, ax=ax, label="AUC")
        ax.vlines(
            np.arange(n_atoms, len(atoms), n_atoms) - 0.5, -0.5, len(labels) - 0.5, "0.4", lw=1
        )
        own = np.repeat(np.arange(len(labels)), n_atoms)
        chance = np.flatnonzero(selectivity.p_adjusted[own, atoms] > 0.05)
        note = ""
        if len(chance):
            ax.plot(chance, own[chance], "x", color="k", markersize=4)
            note = "\n(x: adjusted p > 0.05)"
        name_cells(ax, list(map(str, atoms)), list(map(str, labels)))
        ax.set(xlabel=f"Atoms of the largest AUC, class by class{note}", ylabel="Class")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class SearchDisplay:
    """Scores of a search over two parameters, such as k and n_components.

    Parameters
    ----------
    scores : array-like of shape (n_groups, n_values)
        Mean scores over the folds; NaN where there is none.
    deviations : array-like of shape (n_groups, n_values)
        Their standard deviations over the folds.
    groups : sequence of length n_groups
        Values of one parameter: a curve, or a row of the heat map, for each.
    values : sequence of length n_values
        Values of the other, along the horizontal axis.
    names : tuple of (str, str)
        The parameters' names; the first is empty where there is but one.
    score_name : str, default="Correlation"
        What the score is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

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

    def __init__(self, scores, deviations, *, groups, values, names, score_name="Correlation"):
        self.scores = scores
        self.deviations = deviations
        self.groups = groups
        self.values = values
        self.names = names
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, search, **kwargs):
        """Draw the scores of a fitted search.

        Parameters
        ----------
        search : GridSearchCV or the like
            Fitted.
        **kwargs : dict
            Other parameters of :meth:`from_results`.

        Returns
        -------
        display : SearchDisplay
            What was drawn.
        """
        check_is_fitted(search, "cv_results_")
        return cls.from_results(search.cv_results_, **kwargs)

    @classmethod
    def from_results(
        cls, cv_results, *, x="k", group="n_components", scoring="score",
        score_name="Correlation", ax=None, **kwargs,
    ):  # fmt: skip
        """Draw the scores in a search's ``cv_results_``.

        Where other parameters were searched too, their best combination counts.

        Parameters
        ----------
        cv_results : dict
            What a fitted search has as ``cv_results_``.
        x, group : str, default="k" and "n_components"
            The parameters to show, without the names of a Pipeline's steps unless these are
            needed to tell them apart. One of the two need not have been searched.
        scoring : str, default="score"
            Which score: "score" unless the search had several.
        score_name : str, default="Correlation"
            What to call it.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SearchDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If neither parameter was searched, or a name or the score is not there or stands for
            several.
        """
        if f"mean_test_{scoring}" not in cv_results:
            names = [n.removeprefix("mean_test_") for n in cv_results if n.startswith("mean_test_")]
            raise ValueError(f"Expected scoring to be one of {names}, got {scoring!r}.")
        searched = list(dict.fromkeys(name for params in cv_results["params"] for name in params))
        keys = {name: _searched_name(name, searched) for name in (group, x)}
        shown = [name for name in keys if keys[name] is not None]
        if not shown:
            raise ValueError(f"Expected a search over {x!r} or {group!r}, got one over {searched}.")
        x = shown[-1]
        group = shown[0] if len(shown) == 2 else ""
        of_group = [params.get(keys.get(group), "") for params in cv_results["params"]]
        of_x = [params.get(keys[x], "") for params in cv_results["params"]]
        groups, values = _distinct(of_group), _distinct(of_x)
        scores = np.full((len(groups), len(values)), np.nan)
        deviations = scores.copy()
        means = np.asarray(cv_results[f"mean_test_{scoring}"], dtype=float)
        for i in np.argsort(np.nan_to_num(means, nan=-np.inf), kind="stable"):  # the best last
            cell = groups.index(of_group[i]), values.index(of_x[i])
            scores[cell], deviations[cell] = means[i], cv_results[f"std_test_{scoring}"][i]
        display = cls(
            scores,
            deviations,
            groups=groups,
            values=values,
            names=(group, x),
            score_name=score_name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, kind="curves", cmap="viridis"):
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        kind : {"curves", "heatmap"}, default="curves"
            Curves with bars of one standard deviation over the folds each way, or a heat map.
        cmap : str or matplotlib Colormap, default="viridis"
            A sequential map, of the curves' colours or of the heat map.

        Returns
        -------
        display : SearchDisplay
            Itself.
        """
        if kind not in ("curves", "heatmap"):
            raise ValueError(f"Expected kind='curves' or 'heatmap', got {kind!r}.")
        ax = new_axes() if ax is None else ax
        cmap = mpl.colormaps.get_cmap(cmap)
        (self._draw_curves if kind == "curves" else self._draw_heatmap)(ax, cmap)
        ax.set_xlabel(self.names[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_curves(self, ax, cmap):
        n_groups = len(self.groups)
        for i, group in enumerate(self.groups):
            # Side by side, so that no bar hides another; not the map's end, too light on white.
            place = (i + 1) / (n_groups + 1) - 0.5
            ax.errorbar(
                np.arange(len(self.values)) + 0.4 * place, self.scores[i], self.deviations[i],
                marker=_MARKERS[i % len(_MARKERS)], capsize=3, label=str(group),
                color=cmap(0.85 * i / max(n_groups - 1, 1)),
            )  # fmt: skip
        ax.set_xticks(range(len(self.values)), list(map(str, self.values)))
        ax.set_xlim(-0.5, len(self.values) - 0.5)
        ax.set_ylabel(f"{self.score_name}, held out")
        ax.grid(alpha=0.3)
        if self.names[0]:
            ax.legend(title=self.names[0])

    def _draw_heatmap(self, ax, cmap):
        image = ax.imshow(self.scores, cmap=cmap, aspect="auto", interpolation="nearest")
        ax.figure.colorbar(image, ax=ax, label=f"{self.score_name}, held out")
        width, height = name_cells(ax, list(map(str, self.values)), list(map(str, self.groups)))
        size = min(9, 0.8 * height, width / (0.65 * len("0.000")))
        for (i, j), score in np.ndenumerate(self.scores):
            if size >= 5 and np.isfinite(score):  # smaller could not be read
                light = np.dot(image.to_rgba(score)[:3], (0.299, 0.587, 0.114)) > 0.5
                colour = "k" if light else "w"
                ax.text(j, i, f"{score:.3f}", color=colour, size=size, ha="center", va="center")
        ax.set_ylabel(self.names[0])


def _searched_name(name, searched):
    """What the search calls a parameter, maybe within a Pipeline; None if it is not there."""
    if name in searched:
        return name
    found = [key for key in searched if key.endswith(f"__{name}")]
    if len(found) > 1:
        raise ValueError(f"Expected the full name of one parameter {name!r}, got {found}.")
    return found[0] if found else None


def _distinct(values):
    """Each value once, numbers first and in order."""
    values = list(dict.fromkeys(values))
    numbers = sorted(value for value in values if isinstance(value, Real))
    return numbers + sorted((v for v in values if not isinstance(v, Real)), key=str)
