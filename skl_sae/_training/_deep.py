"""Training of a deep encoder: in stages, of which the first is that of a linear one."""

import math

import numpy as np

from .._engine._deep import DeepModel, unrolled
from ._architecture import FlatArchitecture
from ._loop import Trainer

# Steps by which new layers may correct; the one that leaves least is taken.
_STEPS = 0.1, 0.2, 0.3, 0.5, 0.7, 1.0
# "auto" learning rate of several layers: up to so many times that of one. FVU to PCA's by several
# rates: digits (22 rows a feature) 0.348 at 0.01 and 0.330 at 0.02; MNIST (5) 0.465 at 3 times,
# 0.436 at 8, 0.410 at 15; photographs (a quarter) 0.649 at 2 times and 0.656 at 8.
_RATE_FACTOR = 16
# The same with a threshold, which moves with all samples of a batch: MNIST leaves 0.51 at 16 times,
# after first epochs that destroy its code, 0.412 at 8, 0.423 at 6, 0.439 at 4 and 0.461 at 2.
_THRESHOLD_RATE_FACTOR = 8
# Layers after which each halves that: of MNIST, four layers leave 0.53 at 16 times, as training
# gets worse from its first epoch on, and 0.41 at 8.
_FULL_RATE_LAYERS = 3


class DeepArchitecture(FlatArchitecture):
    """Rows are coded as a whole, by an encoder of several layers.

    Parameters
    ----------
    n_layers : int
        Number of layers, with the first.
    """

    def __init__(self, n_layers):
        self.n_layers = n_layers

    def model(self, parameters, **options):
        """A model of parameters in scaled units, to which layers are added if there are none."""
        if self.n_layers == 1:
            return super().model(parameters, **options)
        if parameters.scales is None:
            parameters = unrolled(parameters, self.n_layers - 1)
        return DeepModel(parameters, **options)


class StageTrainer(Trainer):
    """A stage of a fit; the same rows judge all stages, from the first to the last.

    Parameters
    ----------
    settings, size, tied, rng, architecture
        As `Trainer` has them.
    before : StageTrainer or None, default=None
        The stage before this one.
    """

    returns_judges = False

    def __init__(self, settings, size, tied, rng, architecture=None, before=None):
        super().__init__(settings, size, tied, rng, architecture=architecture)
        self.rows_split = None
        if before is not None:
            self.rows_split = before.rows_split
            self.history.follow(before.history)
        self.n_before = self.history.n_epochs

    def begin(self, rows, start=None, interrupted=None):
        """Begin a stage, or that of a checkpoint, as `Trainer.begin` does."""
        if interrupted is not None:
            if interrupted.config["stage"]["n_before"]:  # rows were split by the first stage
                self.rng.set_state(interrupted.random_state("first_random_state"))
                self._split(rows)
            self.rng.set_state(interrupted.random_state("stage_random_state"))
        self.stage_random_state = self.rng.get_state()
        super().begin(rows, start, interrupted)

    def stage(self):
        """Number of layers after the first; epochs before this stage, and whether it has a start.

        A stage without a start may, in the end, begin anew with all rows.
        """
        scales = self.model.parameters.scales
        return {
            "n_corrections": 0 if scales is None else len(scales) - 1,
            "stage": {"n_before": self.n_before, "has_start": self.start is not None},
        }

    def restore_stage(self, config):
        """Restore from the output of `stage`."""
        self.n_before = config["stage"]["n_before"]
        self.history.n_scores_before = self.n_before if self.history.scores else 0
        self.start = self.model.arrays() if config["stage"]["has_start"] else None

    def _split(self, rows):
        """Rows to train on, and rows held out, which were chosen by the first stage.

        Too few to hold out any are judged by themselves.
        """
        if self.rows_split is None:
            train, held_out = super()._split(rows)
            self.rows_split = train, held_out if held_out.n_rows else train.sample(self.rng)
        self.all_rows = self.rows_split[0]
        return self.rows_split

    def _raised(self, rate, n_features):
        scales = self.model.parameters.scales
        if scales is None:
            return super()._raised(rate, n_features)
        by_threshold = self.model.parameters.thresholds is not None
        factor = _THRESHOLD_RATE_FACTOR if by_threshold else _RATE_FACTOR
        factor /= 2 ** max(0, len(scales) - _FULL_RATE_LAYERS)
        return self._raised_by(factor, rate, n_features)

    def _plan_steps(self, n_train):
        per_epoch = math.ceil(self.n_rows / self.settings.batch_size)
        self.n_planned_steps = (self.settings.max_iter - self.n_before) * per_epoch

    def _judge_start(self):
        """Judge the linear start, and the best of some steps by which new layers correct it."""
        is_new = self.start is not None and self.start.scales is None
        if not is_new or self.model.parameters.scales is None:
            super()._judge_start()
            return
        p = self.model.parameters
        p.scales[1:] = 0
        super()._judge_start()
        merits = []
        for step in _STEPS:
            p.scales[1:] = step
            merits.append(self._merit())
            self.history.keep_best(merits[-1], self.model)
        p.scales[1:] = _STEPS[int(np.argmax(merits))]

    def _merit(self):
        if self.settings.early_stopping:
            return self.score()
        return -self.error()
