"""Displays in scikit-learn's style: training, atoms, reconstructions, usage, classes, searches.

The class methods ``from_estimator``, ``from_codes`` and so on compute and draw. ``plot`` draws
again, on a given Axes or on a new figure. The Axes is kept as ``ax_`` (``axes_`` if there are
several) and its figure as ``figure_``. Nothing is shown or saved; that is left to the notebook,
``pyplot.show`` or ``display.figure_.savefig``.
"""

from ._activations import ActivationDisplay
from ._atoms import AtomDisplay
from ._reconstruction import ReconstructionDisplay
from ._search import SearchDisplay
from ._selectivity import SelectivityDisplay
from ._training import TrainingDisplay
from ._usage import UsageDisplay

__all__ = [
    "ActivationDisplay",
    "AtomDisplay",
    "ReconstructionDisplay",
    "SearchDisplay",
    "SelectivityDisplay",
    "TrainingDisplay",
    "UsageDisplay",
]
