"""TrainedSparseAutoencoder: fit and partial_fit, which are the same for all kinds of model."""

import functools
import os
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    RealNotInt,
    StrOptions,
)

from .._model_file._checkpoint import read_checkpoint, write_checkpoint
from .._model_file._constructor import parameters_as_json
from .._training._alike import facts_of
from .._training._architecture import FlatArchitecture
from .._training._blocks import BlockRows
from .._training._collective import by_first, current, first, is_first, together
from .._training._groups import numbers_of_groups
from .._training._lazy import LazySamples
from .._training._loop import Trainer
from .._training._scaling import Scaling
from .._training._sources import ArrayRows, shared_generator
from ..images._typing import Samples, _fit_context
from ..metrics import check_weights
from ._base import BaseSparseAutoencoder, whole_or_unchanged

_DEAD_AFTER_BATCHES = 100
# Share of dead atoms above which fit says so: of a number of atoms that is given, and of one that
# follows from the data, of which half may be silent.
_MANY_DEAD, _MANY_DEAD_BY_DEFAULT = 0.55, 0.75
# It says so after so many epochs, which would have revived others; and of fewer rows than these
# most atoms of a large dictionary are dead in any case.
_EPOCHS_TO_REVIVE, _ROWS_TO_REVIVE = 10, 50
# Parameters that are numbers, and no booleans.
_NUMBERS = (
    "n_components", "k", "n_estimators", "batch_size", "max_iter", "n_iter_no_change",
    "checkpoint_interval", "transform_tol",
)  # fmt: skip


class TrainedSparseAutoencoder(BaseSparseAutoencoder):
    """Base of the autoencoders that a `Trainer` trains.

    A subclass has the parameters of the training, and says by `_check_size` what model they ask
    for, by `_settings` what the trainer is told, and by `_architecture` of which kind it is.
    """

    if TYPE_CHECKING:
        encoder_: np.ndarray
        encoder_bias_: np.ndarray
        n_components_: int
        k_: int
        n_iter_: int
        loss_curve_: list[float]
        correlation_curve_: list[float]
        validation_scores_: list[float] | None
        best_validation_score_: float | None

    # Of the parameters that all kinds of model have.
    _parameter_constraints: dict = {
        "k": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "init": [StrOptions({"pca", "orthogonal", "random"}), "array-like"],
        "transform_algorithm": [StrOptions({"topk", "omp"})],
        "transform_tol": [Interval(Real, 0, 1, closed="left"), None],
        "refit": ["boolean"],
        "learning_rate": [Interval(Real, 0, np.inf, closed="neither"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "aux_coef": [Interval(Real, 0, np.inf, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_interval": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
        ],
        "warm_start": ["boolean"],
        "augmenter": [HasMethods("fit_transform"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, np.inf, closed="left")],
        "sparse_output": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _watch = None  # the command's own, called after each training step of fit

    def _settings(self):
        """Parameters, as the trainer takes them; not all kinds of model have the first two."""
        return {"consistency": 0.0, "sparsity": "topk"} | self.get_params(deep=False)

    def _architecture(self, X=None, rows=None, rng=None, start=None):
        """Architecture that suits validated samples and their rows; without, that of a fit."""
        return FlatArchitecture()

    @together
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Samples,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the atoms from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images: an array, a list of arrays (H, W) or (H, W, C), or a list of
            Pillow's images, all of one size and mode. Numbers of arrays are taken as they are, also
            uint8 from 0 to 255; Pillow's images become floats in [0, 1], upright and without
            transparency, as :class:`~skl_sae.ImageLoader` gives them. Computed in float32.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples; None for equal weights. Whole numbers are numbers of copies: in
            one batch of all samples the result is that of repeating them (with batch top-k up to
            the last activation of its budget). Others are divided by their mean. Samples of weight
            0 are left out. With an augmenter a sample's weight is that of its variants, which must
            come in blocks of one variant of each sample, as those of
            :class:`~skl_sae.ImageAugmenter` do.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of groups, such as the person, the slide or the film that a sample is from.
            Where fit holds samples out, to judge epochs (also with early stopping) and to fit the
            thresholds of batch top-k, it holds out whole groups: of new samples from new groups
            these tell more than samples held out at random. None: every sample by itself.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, groups or a parameter is not usable, or if training diverges.
        MemoryError
            If the weights cannot fit into this machine's memory.
        RuntimeError
            If another process that shares the fit has ended or failed.

        Warns
        -----
        ConvergenceWarning
            If more than 55 % of the atoms have not fired in the last of at least ten epochs over
            at least 50 rows (three quarters, where n_components is None), unless aux_coef is 0.
        """
        with whole_or_unchanged(self):
            return self._fit(X, y, sample_weight, groups)

    def _fit(self, X, y, sample_weight, groups):
        self._trainer = None  # an earlier optimizer's moments would only take memory
        start = None
        if self.warm_start and hasattr(self, "components_"):
            start = self._parameters()
        X = self._validate_rows(X, reset=start is None)
        rows = self._rows(X, sample_weight, groups)
        size, tied = self._check_size(X, rows.n_samples, start)
        rng = self._generator(rows)
        interrupted = self._interrupted_fit(size.shape[2])
        if interrupted is not None:
            rng.set_state(interrupted.random_state("first_random_state"))
        first_random_state = rng.get_state()
        trainer = context = None
        for stage in self._stages(X, rows, rng, start, interrupted):
            trainer = self._trainer_of(stage, (size, tied, rng), trainer)
            trainer.begin(rows, start, interrupted)
            self._watch_within_epochs(trainer, first_random_state)
            if context is None:
                context = self._init_callback_context(max_subtasks=self.max_iter)
                context.call_on_fit_task_begin(estimator=self, X=X, y=y)
            stop = self._train(trainer, context, first_random_state)
            trainer.finish()
            if stop:
                break
            start, interrupted = trainer.scaling.unscale_parameters(trainer.model.arrays()), None
        further = self._further_attributes(trainer, rng)
        self._store(trainer, trainer.history.attributes() | further)
        self._warn_of_dead_atoms(rows.n_samples)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=lambda: {})
        return self

    def _stages(self, X, rows, rng, start, interrupted):
        """Architecture and settings of each stage of a fit, of which most have one."""
        return [(self._architecture(X, rows, rng, start), self._settings())]

    def _trainer_of(self, stage, given, before):
        """The trainer of a stage, from what all are given and the trainer of the stage before."""
        architecture, settings = stage
        return Trainer(settings, *given, architecture=architecture)

    def _further_attributes(self, trainer, rng):
        """Attributes that are found once the last stage has ended."""
        return {}

    def _train(self, trainer, context, first_random_state):
        """Run the epochs that are left, with what scikit-learn's callbacks are told.

        Returns whether one of them asked to stop.
        """
        stop = False
        while trainer.goes_on and not stop:
            rows = None  # freed before the next ones are drawn
            rows = trainer.draw()
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=rows.X)
            trainer.train_epoch(rows)
            self._print_epoch(trainer.history)
            self._write_checkpoint(trainer, first_random_state)
            stop = first(epoch.call_on_fit_task_end(
                estimator=self, X=rows.X,
                reconstruction_attributes=lambda: self._attributes(trainer, copied=True),
            ))  # fmt: skip
        return stop

    @together
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Samples, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go on learning with one pass over the rows of X.

        The first call on an unfitted estimator takes the scale of the data and the initial
        atoms from its rows. Later calls, also those that follow fit, go on with the weights
        and, as long as the object lives, with the optimizer's moments. A call that fails
        leaves the weights as they were.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, of which at least 1, or images as in :meth:`fit`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples, as in :meth:`fit`.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        first_pass = not hasattr(self, "components_")
        X = self._validate_rows(X, reset=first_pass)
        rows = self._rows(X, sample_weight)
        trainer = self._partial_trainer(X, rows, None if first_pass else self._parameters())
        rows = trainer.prepared(rows)
        before = None if first_pass else self._parameters().copy()
        # Bounded, since torch compares with numbers of 64 bits.
        dead_after = max(rows.n_rows, _DEAD_AFTER_BATCHES * min(self.batch_size, 2**40))
        n_calls = getattr(self, "n_iter_", 0)
        try:
            loss, correlation, frequency = trainer.run_epoch(rows, dead_after, n_calls)
        except BaseException:
            if before is not None:
                self._restore(before)
            raise
        trainer.model = trainer.model.whole()
        self._store(trainer, {
            "n_iter_": n_calls + 1,
            "loss_curve_": [*getattr(self, "loss_curve_", []), loss],
            "correlation_curve_": [*getattr(self, "correlation_curve_", []), correlation],
            "atom_frequency_": frequency,
            "validation_scores_": None,
            "best_validation_score_": None,
        })  # fmt: skip
        if self.verbose and is_first():
            print(f"Call {self.n_iter_}  loss {loss:.4f}  correlation {correlation:.4f}")
        return self

    def _partial_trainer(self, X, rows, start):
        """The trainer of earlier calls, if its model suits the parameters; or a new one."""
        # The total number of samples is unknown.
        size, tied = self._check_size(X, np.inf, start)
        rng = self._generator(rows)
        settings = self._settings()
        before = getattr(self, "_trainer", None)
        if before is not None and before.suits(size, settings["sparsity"]):
            before.continue_with(settings, rng)
            before.spread()
            return before
        architecture = self._architecture(X, rows, rng, start)
        sample = rows.sample(rng)
        # A model of another library, which has had no epoch, comes without units.
        known = start is not None and self.n_iter_ > 0
        scaling = Scaling(self._offset, self._scale) if known else architecture.scaling(sample)
        trainer = Trainer(settings, size, tied, rng, scaling, architecture)
        trainer.make_model(trainer.prepared(sample), start)
        return trainer

    def _restore(self, before):
        """Put the fitted arrays back as they were; the optimizer then starts anew."""
        now = self._parameters().named()
        for name, array in before.named().items():
            now[name][...] = array
        self._trainer = None

    def _rows(self, X, sample_weight, groups=None):
        """Samples with their weights and groups, if there are any."""
        if sample_weight is not None:
            sample_weight = check_weights(sample_weight, X)
        if groups is not None:
            groups = numbers_of_groups(groups, X)
        if isinstance(X, LazySamples):
            return BlockRows.of(X, sample_weight, groups)
        return ArrayRows.of(X.reshape(len(X), -1), sample_weight, groups)

    def _generator(self, rows):
        """Source of all that is random, the same on all ranks that fit these rows together."""
        if current() is not None:
            current().check_alike(facts_of(self.get_params(deep=False), rows))
        return shared_generator(self.random_state)

    def _check_numbers(self):
        """Refuse True, an Integral by which nobody means a number, and a tolerance of no use."""
        self._tolerance()
        for name in _NUMBERS:
            if isinstance(getattr(self, name, None), (bool, np.bool_)):
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be a number. "
                    f"Got {getattr(self, name)!r} instead."
                )

    # --- Checkpoints, output, attributes ---

    def _interrupted_fit(self, n_features):
        """The fit to resume, if there is one."""
        if self.checkpoint is None:
            return None
        return by_first(functools.partial(self._read_interrupted, n_features))

    def _read_interrupted(self, n_features):
        if self.warm_start and os.path.exists(self.checkpoint):
            return read_checkpoint(self.checkpoint, self, n_features)
        parameters_as_json(self.checkpoint, self)  # what cannot be written fails now, not later
        return None

    def _write_checkpoint(self, trainer, first_random_state):
        """Write a checkpoint after an epoch, if one is due."""
        if self.checkpoint is None:
            return
        interval = max(1, self.checkpoint_interval)
        if not trainer.goes_on or trainer.history.n_epochs % interval == 0:
            write_checkpoint(self.checkpoint, self, trainer, first_random_state)

    def _watch_within_epochs(self, trainer, first_random_state):
        """Have checkpoints written within epochs, too, if they are asked for."""
        trainer.watch = self._watch
        if self.checkpoint is not None and self.checkpoint_interval < 1:
            trainer.within_epochs = (
                self.checkpoint_interval,
                lambda: write_checkpoint(self.checkpoint, self, trainer, first_random_state),
            )

    def _print_epoch(self, progress):
        if self.verbose and is_first():
            held_out = f"  held out {progress.scores[-1]:.4f}" if progress.scores else ""
            print(
                f"Epoch {progress.n_epochs}/{self.max_iter}  loss {progress.losses[-1]:.4f}  "
                f"correlation {progress.correlations[-1]:.4f}{held_out}"
            )

    def _store(self, trainer, history):
        """Make the result of training public."""
        vars(self).update(self._attributes(trainer))
        vars(self).update(history)
        self._trainer = trainer

    def _attributes(self, trainer, copied=False):
        """Fitted attributes, in the units of the data; copied, since a fit trains in place."""
        parameters = trainer.model.arrays()
        if copied:
            parameters = parameters.copy()
        scaling = trainer.scaling
        return {
            **self._parameter_attributes(scaling.unscale_parameters(parameters)),
            "k_": trainer.size.k,
            "_offset": scaling.offset,
            "_scale": scaling.scale,
        }

    def _warn_of_dead_atoms(self, n_rows):
        """Warn of many dead atoms where training would have revived them."""
        n_dead, n_atoms = int((self.atom_frequency_ == 0).sum()), len(self.atom_frequency_)
        share = _MANY_DEAD_BY_DEFAULT if self.n_components is None else _MANY_DEAD
        could_revive = self.n_iter_ >= _EPOCHS_TO_REVIVE and n_rows >= _ROWS_TO_REVIVE
        if self.aux_coef and could_revive and n_dead > share * n_atoms:
            warnings.warn(
                f"{n_dead} of {n_atoms} atoms ({n_dead / n_atoms:.0%}) are dead: they did not "
                "fire in the last epoch. Fewer atoms (n_components), a larger k, more rows or "
                "more epochs (max_iter) would leave fewer.",
                ConvergenceWarning, stacklevel=6,
            )  # fmt: skip
