"""Matplotlib Axes helpers: a new one, its size, the labels of a table."""

import math

_LABEL = 7.5  # least room for a label of a table, in points


def new_axes(*shape, figsize=None):
    """Make Axes on a new figure."""
    from matplotlib import pyplot  # only here, as the import selects a backend

    return pyplot.subplots(*shape, figsize=figsize, layout="constrained")[1]


def size_in_points(ax):
    """Return width and height of an Axes after the figure's layout."""
    figure = ax.figure.figure  # of a SubFigure, the whole figure
    if figure.get_layout_engine() is not None:
        figure.get_layout_engine().execute(figure)
    return ax.get_window_extent().size * 72 / figure.dpi


def label_cells(ax, columns, rows):
    """Set tick labels for the cells of a table, thinned out if not all have room.

    Returns
    -------
    width, height : float
        Size of a cell in points.
    """
    width, height = size_in_points(ax) / (len(columns), len(rows))
    longest = max(map(len, columns))
    # A letter is about 0.6 of its size wide. Labels that do not fit side by side are rotated.
    upright = width < 0.6 * _LABEL * longest
    across = width if upright else width / (0.6 * longest)
    for axis, labels, room in ((ax.xaxis, columns, across), (ax.yaxis, rows, height)):
        step = math.ceil(_LABEL / room)
        size = min(9, 0.8 * room * step)
        # Dollar signs in names are not formulas.
        shown = range(0, len(labels), step)
        axis.set_ticks(shown, labels[::step], fontsize=size, parse_math=False)
    ax.tick_params(axis="x", rotation=90 if upright else 0)
    return width, height
