"""History of a fit: its curves, and the best parameters by the held-out rows."""

import numpy as np

from .._engine._parameters import NAMES, Parameters

# Factors of thresholds are at most this.
MOST_FACTOR = 2.0**10
# Training has got worse if the held-out error is larger by this share.
LEAST_LOSS = 0.02


class History:
    """Curves of a fit, and the best parameters by the rows held out.

    ``best_arrays`` are the parameters and the frequency of the epoch that served these rows best,
    or of the start, whose frequency is 0; of a model that is spread over ranks, the part kept here.
    """

    CURVES = "losses", "correlations", "scores", "errors"

    def __init__(self):
        self.losses, self.correlations = [], []
        self.scores = []  # of early stopping: of each epoch
        self.errors = []  # of the judges: of the start and of each epoch until they are returned
        self.is_judging = False
        self.threshold_factors = None  # for rows held out, of batch top-k
        self.choices = None  # of the start, by the judges
        self.frequency = None
        self.best, self.best_arrays = None, {}
        self.n_scores_before = 0  # of earlier stages of a fit

    def follow(self, before):
        """Begin with the curves of an earlier stage."""
        self.losses, self.correlations = [*before.losses], [*before.correlations]
        self.scores = [*before.scores]
        self.n_scores_before = len(self.scores)

    @property
    def n_epochs(self):
        return len(self.losses)

    def add(self, loss, correlation, frequency):
        """Note what an epoch has brought."""
        self.losses.append(loss)
        self.correlations.append(correlation)
        self.frequency = frequency

    def add_score(self, score, model):
        """Note the score of the rows held out, and keep the parameters if it is the best."""
        self.scores.append(score)
        self.keep_best(score, model)

    def add_error(self, error, model):
        """Note the error of the judges, and keep the parameters if it is the least."""
        self.is_judging = True
        self.errors.append(error)
        self.keep_best(-error, model)

    def keep_best(self, merit, model):
        """Keep the parameters if none were better."""
        if self.best is None or merit > self.best:
            self.best = merit
            self.keep(model)

    def keep(self, model):
        """Keep the parameters as they are now."""
        frequency = self.frequency
        if frequency is None:
            frequency = np.zeros(model.counts.fired.numel(), np.float32)
        arrays = model.kept_arrays() | {"frequency": frequency}
        for name in (*NAMES, "frequency"):
            if name not in arrays:
                self.best_arrays.pop(name, None)
            elif name in self.best_arrays:  # fresh pages would cost more than the copy
                np.copyto(self.best_arrays[name], arrays[name])
            else:
                self.best_arrays[name] = arrays[name].copy()

    def go_back(self, model):
        """The parameters that a model kept, copied; their frequency is the latest from now on."""
        self.frequency = self.best_arrays["frequency"].copy()
        return Parameters.from_named(model.joined(self.best_arrays)).copy()

    def has_stalled(self, patience, tol):
        """Whether the last score is no better than those before the last ``patience`` ones."""
        scores = self.scores[self.n_scores_before :]
        # Without as many scores yet there is nothing to compare with.
        reference = max(scores[:-patience], default=-np.inf)
        return bool(scores) and scores[-1] <= reference + tol

    @property
    def has_begun_best(self):
        """Whether no epoch has served the judges as well as the start."""
        return len(self.errors) > 1 and min(self.errors[1:]) >= self.errors[0]

    @property
    def has_got_worse(self):
        """Whether an earlier epoch, or the start, served the judges better than the last."""
        least = min(self.errors)
        return self.errors[-1] > min(self.errors[0], (1 + LEAST_LOSS) * least)

    def as_json(self):
        """Everything but the arrays."""
        return {"losses": self.losses, "correlations": self.correlations,
                "scores": self.scores, "errors": self.errors, "best": self.best,
                "is_judging": self.is_judging, "choices": self.choices,
                "threshold_factors": self.threshold_factors}  # fmt: skip

    def restore(self, numbers, best_arrays, frequency):
        """Restore from the output of `as_json`, and the arrays."""
        vars(self).update(numbers)
        self.best_arrays, self.frequency = best_arrays, frequency

    def attributes(self):
        """Fitted attributes that are derived from the history."""
        return {
            "loss_curve_": self.losses,
            "correlation_curve_": self.correlations,
            "n_iter_": self.n_epochs,
            "validation_scores_": self.scores or None,
            "best_validation_score_": self.best if self.scores else None,
            "atom_frequency_": self.frequency,
        }
