"""Trainer: the training loop, with what comes before and after it."""

import copy
import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from .._engine import kernels
from .._engine._device import check_fits, resolve_device
from .._engine._parameters import Batch, Objective
from .._engine._threads import leaving_cores, n_threads_for, one_thread
from .._engine.init._start import MOST_JUDGES, Code, given_parameters, initial_parameters
from . import _collective
from ._architecture import FlatArchitecture
from ._calibration import held_out_budget
from ._groups import folds_of_groups
from ._history import MOST_FACTOR, History
from ._judge import Judge
from ._sources import ArrayRows, EpochRows, n_judges
from ._sums import EpochSums

# Share of a fit's steps in which the learning rate rises.
_WARM_UP = 0.1
# "auto" learning rate: of the rates tried on digits (64 features), MNIST (784) and photographs
# (3,072 and 12,288), the best on held-out samples scaled approximately as n_features ** -1.5.
_RATE, _LARGEST_RATE = 15.0, 0.01
# Where training moves atoms far from their start the rate is several times that, at most the
# second; fewer times where rows are fewer than features, as photographs are soon overfitted (by
# a deep encoder they leave 0.649 of PCA's error at 2 times and 0.656 at 8).
_RAISED_POWER, _LARGEST_RAISED_RATE = 1.5, 0.02
# Of prefixes, whose first atoms are no start of a small model. FVU of 64 and of 1,024 atoms of
# MNIST: at 5 times 0.220 and 0.144, at 8 times 0.209 and 0.140; alone 0.209 and 0.136.
_NESTED_RATE_FACTOR = 8
# A loss this far above that of predicting the mean, which is 1, means that training diverged.
_DIVERGED = 1e6
# Parts of the rows that are left out in turn where thresholds are fitted to a start; and the most,
# where together these starts see no more than so many rows. Starts of fewer rows suit new ones
# less: of 100 digits with k 8, new ones have 7.8 active atoms by 5 parts and 8.0 by 20.
_N_FOLDS, _MOST_FOLDS, _ROWS_OF_FOLDS = 5, 20, 4000
# Part of the threshold of other rows that one of all is at least, and above which activations are
# looked at.
_LEAST_THRESHOLD = 0.5
# Share of the epochs after which the held-out rows that judge a fit are returned to training; and
# the same while no epoch has a lower error on them than the start.
_JUDGED, _JUDGED_AT_MOST = 2 / 3, 0.9


class Size(NamedTuple):
    """Size of the model of a fit."""

    shape: tuple  # members, atoms, features
    k: int
    prefixes: tuple = ()  # numbers of first atoms, fewer than all, that are models, too


def check_memory(shape, tied):
    """Refuse sizes whose weights and Adam's moments exceed the machine's memory."""
    n_bytes = 4 * int(np.prod(shape, dtype=object)) * (3 if tied else 6)
    size = f"{shape[0]} member(s) of {shape[1]} atoms over {shape[2]} features"
    check_fits(n_bytes, f"Training {size}, with Adam's moments,")


class Trainer:
    """A fit under way.

    Parameters
    ----------
    settings : dict
        Parameters of the estimator.
    size : Size
        Size of the model.
    tied : bool
        Whether the encoder is the transposed decoder.
    rng : RandomState
        Source of all that is random.
    scaling : Scaling or None
        Units of an earlier fit; None finds them.
    architecture : FlatArchitecture or ConvArchitecture or None
        What kind of model it is; None for a flat one.

    Attributes
    ----------
    model : LinearModel
        In scaled units.
    history : History
        What the epochs have brought.
    """

    returns_judges = True  # whether rows that judge are learned, too, in the end

    def __init__(self, settings, size, tied, rng, scaling=None, architecture=None):
        self.settings = SimpleNamespace(**settings)
        self.size, self.tied, self.rng, self.scaling = size, tied, rng, scaling
        self.architecture = architecture or FlatArchitecture()
        self.model = None
        self.history = History()
        self.held_out = None  # rows that judge, or those of early stopping
        self.n_rows = 0  # of the first epoch
        self.n_planned_steps = None  # None disables the schedule of the learning rate
        self.n_steps_before = 0  # of models that this one replaced
        self.watch = None  # called with the numbers of steps done and planned, after each
        self.epoch = None  # what an epoch under way has brought so far
        self.epoch_random_state = None  # before it began
        self.stage_random_state = None  # before a stage began, of a fit that has several
        self.within_epochs = None  # (share of an epoch, what is called after each)

    def suits(self, size, sparsity):
        """Whether the model, with its moments, can go on under these parameters."""
        by_batch = self.model.parameters.thresholds is not None
        return (
            self.model.k == size.k
            and self.size.prefixes == size.prefixes
            and by_batch == (sparsity == "batch_topk")
        )

    def continue_with(self, settings, rng):
        """Go on under other settings, at a constant learning rate."""
        self.settings, self.rng = SimpleNamespace(**settings), rng
        self.n_planned_steps = None

    # --- Beginning ---

    def begin(self, rows, start=None, interrupted=None):
        """Split the rows, find the units, and make the first model, or that of a checkpoint.

        Parameters
        ----------
        rows : RowSource
            All rows of the fit.
        start : Parameters or None
            Fitted parameters to start from; None makes new ones.
        interrupted : Checkpoint or None
            A fit to go on with.
        """
        self.all_rows, self.start = rows, start
        train, self.held_out = self._split(rows)
        self.held_out = self.prepared(self.held_out)
        self.epochs = EpochRows(train, self.settings.augmenter, self.rng)
        first = self.prepared(self.epochs.draw())
        self.n_rows = first.n_rows
        sample = first.sample(self.rng)
        # Rows that judge are learned, too, in the end: the offset is the mean of all.
        learned_as_given = self.settings.augmenter is None and not self.settings.early_stopping
        all_in_memory = isinstance(rows, ArrayRows)
        self.scaling = self.architecture.scaling(
            rows if learned_as_given and all_in_memory else sample
        )
        if interrupted is None:
            self.make_model(sample, start)
            self._judge_start()
        else:
            interrupted.restore(self)
        self._plan_steps(train.n_rows)

    def stage(self):
        """Items that a checkpoint holds of a fit in stages; none of a fit that has only one."""
        return {}

    def restore_stage(self, config):
        """Restore from the output of `stage`, once there is a model."""

    def _split(self, rows):
        """Rows to train on, and rows held out."""
        return rows.hold_out(self._n_held_out(rows.n_samples), self.rng)

    def prepared(self, rows):
        """Return what the model sees of rows."""
        return self.architecture.prepare(rows, self.rng)

    def _n_held_out(self, n_samples):
        """Number of samples that early stopping holds out, or that judge the fit for a while."""
        if not self.settings.early_stopping:
            return n_judges(n_samples)
        n_held_out = max(1, int(self.settings.validation_fraction * n_samples))
        if n_held_out >= n_samples:
            raise ValueError(
                f"Expected at least 2 samples for early stopping, got n_samples={n_samples}."
            )
        return n_held_out

    def _plan_steps(self, n_train):
        """Find the length of the learning rate's schedule."""
        # Epochs before and after the judges are returned have different numbers of rows.
        variants = self.n_rows / n_train  # of each row, by the augmenter
        max_iter = self.settings.max_iter
        n_early = max_iter if self.settings.early_stopping else int(_JUDGED * max_iter)
        self.n_planned_steps = sum(
            n_epochs * math.ceil(variants * n_rows / self.settings.batch_size)
            for n_epochs, n_rows in ((n_early, n_train), (max_iter - n_early, self.all_rows.n_rows))
        )

    def make_model(self, rows, start=None):
        """Make a model of fitted parameters, or of new ones for these rows, an ArrayRows."""
        by_batch = self.settings.sparsity == "batch_topk"
        if start is None:
            parameters = self._initial_parameters(rows)
        else:
            parameters = self.scaling.scale_parameters(start)
        # Those of single atoms, in models of other libraries, are not learned here.
        has_thresholds = parameters.thresholds is not None and parameters.thresholds.ndim == 1
        if not by_batch:
            parameters.thresholds = None
        elif not has_thresholds:
            parameters.thresholds = np.zeros(self.size.shape[0], np.float32)
        device = resolve_device(self.settings.device)
        self.model = self.architecture.model(parameters, k=self.size.k, device=device)
        if self.model.fused and isinstance(self.architecture, FlatArchitecture):
            kernels.compile_training()
        if by_batch and not has_thresholds:
            judges = self.held_out.sample(self.rng) if self._has_held_out else rows
            self.judge.fit_thresholds(judges)

    @property
    def _has_held_out(self):
        return self.held_out is not None and self.held_out.n_rows > 0

    def _initial_parameters(self, rows):
        """Parameters to start from, in scaled units."""
        init, shape = self.settings.init, self.size.shape
        if not isinstance(init, str):
            parameters = given_parameters(init, shape)
        else:
            generator = torch.Generator().manual_seed(int(self.rng.randint(2**31 - 1)))
            scaled, judges, k = None, None, self.size.k
            if init == "pca":
                scaled, k = self._start_rows(rows, generator)
                if self._has_held_out:
                    held_out = self.held_out.sample(self.rng)
                    judges = self._start_rows(held_out, generator)[0][:MOST_JUDGES]
            code = Code(k, self.settings.sparsity == "topk", bool(self.size.prefixes))
            known = self.history.choices
            parameters, self.history.choices = _collective.first(initial_parameters(
                init, scaled, shape, code, generator, judges, known
            ))  # fmt: skip
        if not self.tied:
            parameters.encoder = parameters.decoder.copy()
        return self.architecture.start_parameters(parameters)

    def _start_rows(self, rows, generator):
        scaled = torch.from_numpy(self.scaling.scale_rows(rows.copies()))
        return self.architecture.start_rows(scaled, self.size.k, generator)

    def _judge_start(self):
        if not self._has_held_out:
            return
        if self.settings.early_stopping:
            self.history.keep_best(self.score(), self.model)
        else:
            self.history.add_error(self.error(), self.model)

    def spread(self):
        """Spread a whole model over the ranks of the fit under way, if there are any."""
        if _collective.current() is None:
            return
        self.model = self._model_as(self.model, self.model.arrays(caught_up=False))

    def _model_as(self, whole, parameters):
        """A model of parameters that goes on as a whole one, spread over the ranks of this fit."""
        model = self.architecture.model(
            parameters, k=whole.k, device=whole.device, fused=whole.fused
        )
        model.restore_optimizer(whole.optimizer_arrays(), whole.n_steps)
        return model

    # --- Epochs ---

    @property
    def goes_on(self):
        """Whether another epoch is due."""
        s = self.settings
        is_left = self.history.n_epochs < s.max_iter
        return is_left and not self.history.has_stalled(s.n_iter_no_change, s.tol)

    def draw(self):
        """The rows of the next epoch, or of one that was interrupted."""
        history = self.history
        self.epoch_random_state = self.rng.get_state()
        if history.is_judging and self.returns_judges:
            part = _JUDGED_AT_MOST if history.has_begun_best else _JUDGED
            if history.n_epochs >= int(part * self.settings.max_iter):
                self._return_judges()
        if not (history.is_judging or self.settings.early_stopping):
            self.epochs.rows = self.all_rows
        return self.prepared(self.epochs.draw())

    def _return_judges(self):
        """Go on from the best epoch if that was an earlier; from now on judges are learned, too.

        The parameters are kept as they are then; or as at the start, if no epoch was better.
        """
        history = self.history
        history.is_judging = False
        if history.has_begun_best:
            return
        # The last epoch may be worse by chance; only a clear loss sends training back.
        error = history.errors[-1]
        if history.has_got_worse:
            self._go_back()
            error = min(history.errors)
        history.keep(self.model)
        history.best = -error
        if self.model.parameters.thresholds is not None:
            history.threshold_factors = self._without_judges()._threshold_factors()

    def _without_judges(self):
        """A trainer that has gone on from here to the end, but never learned the rows held out.

        It tells what thresholds suit new rows at the end, when all rows of this one are learned.
        """
        twin = copy.copy(self)
        twin.rng = np.random.RandomState()
        twin.rng.set_state(self.rng.get_state())
        twin.watch = twin.within_epochs = None
        whole = self.model.whole()
        twin.model = self._model_as(whole, whole.arrays(caught_up=False).copy())
        twin.epochs = EpochRows(self.epochs.rows, self.settings.augmenter, twin.rng)
        n_epochs, n_planned = self.history.n_epochs, self.settings.max_iter
        rows = twin.prepared(twin.epochs.draw())
        n_left = (n_planned - n_epochs) * math.ceil(rows.n_rows / self.settings.batch_size)
        twin.n_planned_steps = self.n_steps_before + whole.n_steps + n_left
        for epoch in range(n_epochs, n_planned):
            if epoch > n_epochs:
                rows = twin.prepared(twin.epochs.draw())
            twin.run_epoch(rows, rows.n_rows, epoch)
        return twin

    def train_epoch(self, rows):
        """Train on rows once, and judge what came of it."""
        history = self.history
        history.add(*self.run_epoch(rows, rows.n_rows, history.n_epochs))
        if self.settings.early_stopping:
            history.add_score(self.score(), self.model)
        elif history.is_judging:
            history.add_error(self.error(), self.model)

    @one_thread()
    def run_epoch(self, rows, dead_after, n_epochs):
        """Train on rows once: mean loss, mean correlation, how often each atom fired.

        Parameters
        ----------
        rows : RowSource
            In the units of the data.
        dead_after : int
            Number of rows without firing after which an atom counts as dead.
        n_epochs : int
            Number of epochs before, which an error names.
        """
        s, model = self.settings, self.model
        objective = Objective(
            float(s.consistency), float(s.aux_coef), dead_after, self.size.prefixes
        )
        learning_rate = self._learning_rate(self.size.shape[2])
        if self.epoch is None:
            model.counts.fired.zero_()
            self.epoch = EpochSums()
        sums = self.epoch
        try:
            with leaving_cores(rows.n_threads):
                self._learn(rows, objective, learning_rate)
        finally:
            self.epoch = None
        if s.aux_coef:
            model.revive(dead_after)
        loss = sums.loss / rows.n_rows
        if not loss < _DIVERGED:
            raise ValueError(
                f"Training diverged in epoch {n_epochs + 1} (loss {loss:.3g}) with "
                f"learning_rate={learning_rate:.3g}. Try a smaller learning_rate."
            )
        frequency = self._frequency(model.counts.fired, rows.n_rows)
        return loss, sums.correlation.value, frequency

    def _learn(self, rows, objective, learning_rate):
        """Learn the batches of an epoch that are left, and add up what they bring."""
        sums, model = self.epoch, self.model
        # One visit of the model a batch; everything else here is bookkeeping.
        for X, weight in rows.batches(self.settings.batch_size, self.rng, sums.n_batches):
            batch = self._batch(X, weight)
            result = model.step(batch, objective, learning_rate * self._rate_factor())
            sums.loss += float(result.loss) * len(X)
            if self.watch is not None:
                self.watch(self.n_steps_before + model.n_steps, self.n_planned_steps)
            sums.correlation.add(self._correlations(batch.rows, result.reconstruction), weight)
            sums.n_batches += 1
            self._interrupt(sums.n_batches, rows.n_rows)

    def _interrupt(self, n_batches, n_rows):
        """Call what is to be called within epochs, such as to write a checkpoint."""
        if self.within_epochs is not None:
            share, call = self.within_epochs
            every = max(1, math.ceil(share * n_rows / self.settings.batch_size))
            if n_batches % every == 0 and n_batches * self.settings.batch_size < n_rows:
                call()

    def _frequency(self, fired, n_rows):
        """Fraction of the samples, or of all places in them, at which each atom fired."""
        return (fired.cpu().numpy() / (n_rows * self.architecture.n_places)).ravel()

    def _learning_rate(self, n_features):
        if self.settings.learning_rate != "auto":
            return float(self.settings.learning_rate)
        rate = min(_LARGEST_RATE, _RATE / n_features**1.5)
        # Without a schedule, by which it falls again, the rate is not raised.
        return rate if self.n_planned_steps is None else self._raised(rate, n_features)

    def _raised(self, rate, n_features):
        """The "auto" learning rate of a fit."""
        return (
            self._raised_by(_NESTED_RATE_FACTOR, rate, n_features) if self.size.prefixes else rate
        )

    def _raised_by(self, factor, rate, n_features):
        """A rate raised up to so many times, and less where rows are few."""
        factor *= min(1, self.n_rows / n_features) ** _RAISED_POWER
        return min(_LARGEST_RAISED_RATE, max(1, factor) * rate)

    def _rate_factor(self):
        """Part of the learning rate that is due: it rises, then falls to 0 at the last step."""
        if self.n_planned_steps is None:
            return 1.0
        done = (self.n_steps_before + self.model.n_steps) / self.n_planned_steps
        return min(1.0, (done + 1 / self.n_planned_steps) / _WARM_UP) * max(0.0, 1 - done)

    def _batch(self, X, weight):
        rows = self.judge.scaled(X)
        if weight is not None:
            weight = torch.from_numpy(weight).to(rows)
            weight = weight.expand(self.size.shape[0], -1).contiguous()
        return Batch(rows, weight)

    def _correlations(self, rows, reconstruction):
        """Correlation of each row in the units of the data; NaN for one that is constant."""
        offset = self.scaling.offset_of_rows(rows.shape[1])
        if self.model.fused:
            correlations = np.empty(len(rows), np.float32)
            arguments = rows.numpy(), reconstruction.numpy(), offset, correlations
            n_threads = n_threads_for(rows.numel())
            kernels.run([(kernels.correlate_rows, len(rows), arguments)], n_threads)
            return correlations
        both = torch.stack([rows, reconstruction])
        both += torch.from_numpy(offset).to(rows)
        both -= both.mean(2, keepdim=True)
        length, length_guess = torch.linalg.vector_norm(both, dim=2)
        correlations = torch.linalg.vecdot(*both) / (length * length_guess)
        correlations = correlations.nan_to_num()
        return torch.where(length > 1e-6, correlations, torch.nan).cpu().numpy()

    # --- Ending ---

    def finish(self):
        """End with the last epoch or a better one, with atoms adapted to how rows are coded."""
        if self.history.best_arrays:
            self._settle()
        self.model = self.model.whole()
        # Adapted to pursuit of all, the first atoms would be no good models any more.
        if self.settings.transform_algorithm == "omp" and not self.size.prefixes:
            self._adapt_atoms()
        # What only a fit needs would take memory while the object lives.
        del self.all_rows, self.epochs, self.start
        self.held_out = self.watch = self.within_epochs = self.n_planned_steps = None

    def _settle(self):
        history, rows = self.history, self.prepared(self.all_rows)
        is_new_start = (
            history.has_begun_best and self.start is None
            and isinstance(self.settings.init, str) and self.settings.init == "pca"
        )  # fmt: skip
        if is_new_start:
            sample = rows.sample(self.rng)
            self.scaling = self.architecture.scaling(sample)
            self.make_model(sample)
            history.frequency = None
            if self.model.parameters.thresholds is not None:
                self._cross_fit_thresholds(sample)
        elif self.settings.early_stopping or history.has_begun_best:
            self._go_back()
        elif self.error() > -history.best:
            self._go_back()  # it is worse on these rows, though it has learned them by now
        if history.threshold_factors is not None:
            thresholds = self.model.parameters.thresholds
            thresholds *= torch.tensor(history.threshold_factors).to(thresholds)
        elif self.model.parameters.thresholds is not None and not is_new_start:
            self.judge.fit_thresholds(self.held_out, self._held_out_budget())
        if history.frequency is None or not history.frequency.any():  # of the start
            history.frequency = self._frequency(self.judge.fired(rows), np.float32(rows.n_samples))

    def _cross_fit_thresholds(self, rows):
        """Fit the thresholds of a start made of rows such that new ones have k active atoms.

        By how much activations of new rows are larger, each part of the rows tells by a start made
        of the others: of all, divided by the threshold of these, k a row are above the factor.
        """
        model, relative, folds = self.model, [], self._folds(rows)
        for fold in folds:
            others = rows[np.setdiff1d(np.arange(rows.n_rows), fold)]
            self.make_model(others)
            self.judge.fit_thresholds(others)
            relative.append(self.judge.above_thresholds(rows[fold], _LEAST_THRESHOLD))
        self.model = model
        self.judge.fit_thresholds(rows)
        thresholds, n_active = model.parameters.thresholds, model.k * sum(map(len, folds))
        for e, activations in enumerate(map(torch.cat, zip(*relative, strict=True))):
            factor = _LEAST_THRESHOLD
            if len(activations) >= n_active:
                factor = float(activations.topk(n_active).values[-1])
            # A threshold is above 0, as one fitted to rows is.
            thresholds[e] = max(torch.finfo(torch.float32).tiny, factor * float(thresholds[e]))

    def _folds(self, rows):
        """Row numbers of each part of rows, of whole groups of them where that is possible."""
        n_folds = max(_N_FOLDS, min(_MOST_FOLDS, _ROWS_OF_FOLDS // rows.n_rows))
        by_groups = []
        if rows.groups is not None:
            by_groups = folds_of_groups(rows.groups, n_folds, self.rng)
        return by_groups or np.array_split(self.rng.permutation(rows.n_rows), n_folds)

    def _go_back(self):
        """Go on from the parameters kept, with an optimizer that starts anew."""
        self.n_steps_before += self.model.n_steps
        parameters = self.history.go_back(self.model)
        self.model = self.architecture.model(parameters, k=self.size.k, device=self.model.device)

    @one_thread()
    def _adapt_atoms(self):
        """Adapt the atoms to orthogonal matching pursuit."""
        self.model.catch_up()
        rows = self.judge.scaled(self.prepared(self.all_rows).sample(self.rng).copies())
        self.architecture.adapt(self.model, rows, self.rng)

    # --- Measures ---

    @property
    def judge(self):
        """The model as it is now, to be judged."""
        return Judge(self.model, self.scaling, self.size.prefixes)

    def error(self):
        """Error on the rows held out, which judges epochs."""
        return self.judge.error(self.held_out, self.settings.consistency)

    def score(self):
        """Mean correlation of the rows held out, which early stopping looks at."""
        return self.judge.score(self.held_out, self.settings.batch_size)

    @one_thread()
    def _held_out_budget(self):
        """Mean number of active atoms for the rows held out, so that new ones have k."""
        self.model.catch_up()
        learned = self.prepared(self.epochs.rows).sample(self.rng)
        rows = (self.judge.some_scaled(part) for part in (self.held_out, learned))
        return _collective.first(held_out_budget(self.model, *rows))

    def _threshold_factors(self):
        """Factors of the thresholds of learned rows by which new ones get k atoms.

        The rows held out tell that of a model that has not learned them. Of one that has learned
        all rows it is less: the more rows are learned, the less an encoder suits them better than
        others. This falls as 1 / n, as biases of estimates from n rows do.
        """
        share = self.epochs.rows.n_samples / self.all_rows.n_samples
        with self.judge.thresholds_fitted_to(self.held_out, self._held_out_budget()) as kept:
            factors = (self.model.parameters.thresholds / kept).clamp(max=MOST_FACTOR)
            return factors.pow(share).tolist()
