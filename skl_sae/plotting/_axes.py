"""Axes made, measured and labelled."""

import math

_LABEL = 7.5  # the least room for a label in a table, in points


def new_axes(*shape, figsize=None):
    """Axes on a new figure."""
    from matplotlib import pyplot  # here, because it takes note of a backend

    return pyplot.subplots(*shape, figsize=figsize, layout="constrained")[1]


def size_in_points(ax):
    """Width and height of an Axes, once the figure's layout is done."""
    figure = ax.figure.figure  # of a SubFigure the whole
    if figure.get_layout_engine() is not None:
        figure.get_layout_engine().execute(figure)
    return ax.get_window_extent().size * 72 / figure.dpi


def name_cells(ax, columns, rows):
    """Tick labels for the cells of a table, thinned out where not all have room.

    Returns the width and height of a cell in points.
    """
    width, height = size_in_points(ax) / (len(columns), len(rows))
    longest = max(map(len, columns))
    upright = width < 0.6 * _LABEL * longest
    across = width if upright else width / (0.6 * longest)
    for axis, labels, room in ((ax.xaxis, columns, across), (ax.yaxis, rows, height)):
        step = math.ceil(_LABEL / room)
        size = min(9, 0.8 * room * step)
        # Names may hold dollar signs, which are no formulas.
        shown = range(0, len(labels), step)
        axis.set_ticks(shown, labels[::step], fontsize=size, parse_math=False)
    ax.tick_params(axis="x", rotation=90 if upright else 0)
    return width, height
