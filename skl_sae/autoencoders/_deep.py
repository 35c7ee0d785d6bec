"""DeepTopKSparseAutoencoder: linear atoms behind an encoder of several layers."""

import math
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions

from .._engine._deep import DeepModel
from .._engine._device import check_fits
from .._training._architecture import FlatArchitecture
from .._training._deep import DeepArchitecture, StageTrainer
from .._training._loop import Size
from ._sizes import number_active, number_of_atoms
from ._trained import TrainedSparseAutoencoder

# Share of the epochs in which the encoder has one layer.
_LINEAR = 1 / 2


class DeepTopKSparseAutoencoder(TrainedSparseAutoencoder):
    r"""Sparse codes of rows by an encoder of several layers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import DeepTopKSparseAutoencoder
    """

    # What files and codes ask of every autoencoder, and what has no choice here.
    aggregate, checkpoint, n_estimators = "concat", None, 1

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_encoder_layers": [Interval(Integral, 1, None, closed="left")],
        "k": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "init": [StrOptions({"pca", "orthogonal", "random"}), "array-like"],
        "transform_algorithm": [StrOptions({"topk", "omp"})],
        "refit": ["boolean"],
        "learning_rate": [Interval(Real, 0, np.inf, closed="neither"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "aux_coef": [Interval(Real, 0, np.inf, closed="left")],
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

    def __init__(
        self,
        n_components=None,
        *,
        n_encoder_layers=3,
        k=None,
        init="pca",
        transform_algorithm="topk",
        refit=False,
        learning_rate="auto",
        batch_size=32,
        max_iter=30,
        aux_coef=0.25,
        augmenter=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        tol=1e-4,
        sparse_output=True,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_encoder_layers = n_encoder_layers
        self.k = k
        self.init = init
        self.transform_algorithm = transform_algorithm
        self.refit = refit
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.aux_coef = aux_coef
        self.augmenter = augmenter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- Training ---

    def _check_size(self, X, n_samples, start):
        """Check constraints between parameters; return the model's size, and that it begins tied."""
        self._refuse_booleans()
        n_features = X.shape[1]
        n_atoms = number_of_atoms(self.n_components, (n_samples, n_features), start)
        shape = 1, n_atoms, n_features
        if start is not None:
            self._check_start(start, shape)
        # The atoms and each layer's weights, with Adam's moments.
        n_layers = int(self.n_encoder_layers)
        check_fits(
            12 * (n_layers + 1) * n_atoms * n_features,
            f"Training {n_layers} layers and {n_atoms} atoms over {n_features} features",
        )
        return Size(shape, number_active(self.k, n_atoms, n_features)), True

    def _check_start(self, start, shape):
        if start.shape != shape:
            raise ValueError(
                f"Expected the fitted shape (1, n_components, n_features) = {start.shape} to go on "
                f"from, got {shape}."
            )
        fitted = 1 if start.corrections is None else 1 + len(start.corrections)
        if fitted not in (1, self.n_encoder_layers):
            raise ValueError(
                f"Expected n_encoder_layers={fitted} as fitted, got {self.n_encoder_layers}."
            )

    def _settings(self):
        return self.get_params(deep=False) | {"consistency": 0.0, "sparsity": "topk"}

    def _architecture(self, X=None, rows=None, rng=None, start=None):
        return DeepArchitecture(int(self.n_encoder_layers))

    def _stages(self):
        """Architecture and settings of each stage of a fit."""
        settings = self._settings()
        if self.n_encoder_layers == 1:
            return [(FlatArchitecture(), settings)]
        n_linear = math.ceil(_LINEAR * self.max_iter)
        linear = settings | {"max_iter": n_linear, "transform_algorithm": "topk"}
        return [(FlatArchitecture(), linear), (self._architecture(), settings)]

    def _fit(self, X, y, sample_weight):
        self._trainer = None  # an earlier optimizer's moments would only take memory
        X = self._validate_rows(X, reset=True)
        rows = self._weighted(X, sample_weight)
        size, tied = self._check_size(X, rows.n_samples, None)
        rng = self._generator(rows)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        trainer = start = None
        for architecture, settings in self._stages():
            trainer = StageTrainer(settings, size, tied, rng, architecture, trainer)
            trainer.begin(rows, start)
            if start is None:
                context.call_on_fit_task_begin(estimator=self, X=X, y=y)
            stop = self._train(trainer, context, None)
            trainer.finish()
            if stop:
                break
            start = trainer.scaling.unscale_parameters(trainer.model.arrays())
        self._store(trainer, trainer.history.attributes())
        self._warn_of_dead_atoms(rows.n_samples)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=lambda: {})
        return self

    # --- Codes and state ---

    def _coder(self, parameters):
        if parameters.corrections is None:
            return super()._coder(parameters)
        return DeepModel(parameters, k=self.k_, device=self._transform_device())

    def _parameters(self):
        parameters = super()._parameters()
        if len(self.correction_weights_):
            parameters.corrections = self.correction_weights_
            parameters.correction_biases = self.correction_biases_
        return parameters

    def _parameter_attributes(self, parameters):
        p = parameters
        weights, biases = p.corrections, p.correction_biases
        if weights is None:
            weights, biases = (
                np.zeros((0, *shape), np.float32) for shape in (p.shape[1:], p.shape[1:2])
            )
        return {
            **super()._parameter_attributes(p),
            "correction_weights_": weights, "correction_biases_": biases,
        }  # fmt: skip

    def _get_state(self):
        # Files have no place for the moments of further layers.
        return replace(super()._get_state(), model=None)
