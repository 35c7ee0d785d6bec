"""DeepTopKSparseAutoencoder: linear atoms behind an encoder of several layers."""

import math
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions

from .._engine._deep import DeepModel
from .._engine._interactions import correction
from .._engine._threads import one_thread
from .._engine._tuning import ROWS_AT_A_TIME
from .._training._architecture import FlatArchitecture
from .._training._deep import DeepArchitecture, StageTrainer
from .._training._interactions import Coded, trained_interactions
from .._training._loop import Size, check_memory
from ..images._typing import AnyPath, RandomState, Samples, SparseOrDense
from ._sizes import number_active, number_of_atoms
from ._trained import TrainedSparseAutoencoder

# Share of the epochs in which the encoder has one layer.
_LINEAR = 1 / 2


class DeepTopKSparseAutoencoder(TrainedSparseAutoencoder):
    r"""Sparse codes of rows by an encoder of several layers.

    The atoms, the unit-norm rows of :math:`D`, are those of :class:`TopKSparseAutoencoder`, and so
    is the first layer, but for a scale of each atom. Each further layer looks at what the code
    before left over, and corrects it:

    .. math::

        z_0 = \mathrm{TopK}(\mathrm{ReLU}(s_0 \odot D (x - b) + c_0),\ k),

    .. math::

        z_l = \mathrm{TopK}(\mathrm{ReLU}(
        z_{l-1} + s_l \odot D (x - b - D^\top z_{l-1}) + c_l),\ k), \qquad
        \hat x = D^\top z_L + b.

    This is LISTA [1]_ with top-k in place of the shrinkage, and with its weights
    :math:`W_l = \mathrm{diag}(s_l) D` tied to the atoms, which overfits less and takes less time
    than weights of their own [2]_. Before training, a layer is a step of iterative hard
    thresholding [3]_; trained ones do the work of many such steps. Atoms that explain the same
    thing no longer both count it, and an atom that the first layer missed can still be chosen.

    The first half of the epochs trains one layer, as :class:`TopKSparseAutoencoder` does. Then
    the others are added, with the step :math:`s_l` that suits them best, and Adam trains
    everything together: atoms, scales and biases. The loss is the mean squared error of the last
    code and, with a weight of 0.3, of each code before.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms. None is 4 per feature, but at most 2 per sample passed to fit, and at most
        1,024.
    n_encoder_layers : int, default=3
        Number of layers of the encoder. 1 is the linear encoder of :class:`TopKSparseAutoencoder`.
    decoder_hidden_layer_sizes : tuple of int, default=()
        Sizes of hidden layers between code and reconstruction, which correct how active atoms add
        up (see Notes). () is the linear decoder, than which none left noticeably less of images.
    activation : {"relu"}, default="relu"
        Activation function of these hidden layers.
    k : int, float or None, default=None
        Maximum number of active atoms per sample; with sparsity="batch_topk" their mean. A float in
        (0, 1) is a fraction of n_components. None is 5 % of n_components, but at most half the
        number of features. The result is at least 1.
    init : {"pca", "orthogonal", "random"} or array-like, default="pca"
        Initial atoms, as those of :class:`TopKSparseAutoencoder`. An array has shape
        (n_components, n_features); its rows are scaled to unit norm.
    sparsity : {"topk", "batch_topk"}, default="topk"
        How the last layer selects. "topk": the k largest answers of each sample, as all other
        layers do. "batch_topk": in training, the k * batch_size largest answers of a batch are
        kept, so that complex samples get more than simple ones, and k on average; after it a
        threshold decides, such that new samples have k on average, as held-out samples tell.
    transform_algorithm : {"topk", "omp"}, default="topk"
        Algorithm that computes the codes of fitted atoms. "topk": the encoder, in one pass through
        its layers. "omp": orthogonal matching pursuit, to which fit adapts the atoms at its end;
        the encoder then is not used, so that :class:`TopKSparseAutoencoder` serves as well.
    transform_tol : float or None, default=None
        Part of a sample's variance at which "omp" stops, as in :class:`TopKSparseAutoencoder`.
    refit : bool, default=False
        Whether codes get new values by least squares over the atoms that the encoder chose, none
        negative: no sample is reconstructed worse, in little more time. Training does not change.
    learning_rate : float or "auto", default="auto"
        Largest learning rate of Adam. In each half of fit it is reached linearly over the first
        tenth of the steps and then decays linearly to 0; in partial_fit it is constant. "auto" is
        15 / n_features ** 1.5, at most 0.01, and in the second half of fit up to 16 times as
        much (8 times with sparsity="batch_topk"), at most 0.02: the factor falls where there are
        fewer samples than features, and is halved by each layer after the third.
    batch_size : int, default=32
        Number of samples per mini-batch.
    max_iter : int, default=30
        Number of epochs, of which the first half trains one layer, and the second all.
    aux_coef : float, default=0.25
        Weight of AuxK, the loss of the dead atoms, while there is one layer.
    augmenter : transformer or None, default=None
        Transformer whose fit_transform is applied to the training samples in every epoch of fit,
        as that of :class:`TopKSparseAutoencoder`.
    early_stopping : bool, default=False
        Whether to stop each half of fit when the correlation of the samples held out no longer
        improves.
    validation_fraction : float, default=0.1
        Fraction of the samples that early stopping holds out; to the nearest group, if fit is told
        groups.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which early stopping stops.
    tol : float, default=1e-4
        Smallest gain in correlation that counts as an improvement.
    checkpoint : str, path-like or None, default=None
        A file to which fit writes its whole state, and from which it goes on to the same result,
        as that of :class:`TopKSparseAutoencoder`. Hidden layers of the decoder, which are trained
        at the end, are then begun anew.
    checkpoint_interval : int or float, default=1
        Number of epochs from one checkpoint to the next; below 1 a share of an epoch.
    sparse_output : bool, default=True
        Whether transform returns a CSR matrix or a dense array.
    device : str or torch.device, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first of CUDA,
        MPS and CPU that is there. Fitted attributes are NumPy arrays on any device.
    warm_start : bool, default=False
        Whether fit starts from the fitted weights: of several layers it then trains all in all
        epochs, of one it goes through both halves again. Hidden layers of the decoder begin anew.
        It also resumes the fit of an existing checkpoint, which comes first.
    random_state : int, RandomState instance or None, default=None
        Determines the initial atoms, the order of the samples, those held out and the augmenter's
        random_state.
    verbose : bool or int, default=0
        Whether to print progress once per epoch, and per call of partial_fit.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features), float32
        The atoms, of unit norm. With any decoder, an atom is the response to a unit activation of
        it alone, less the response to an empty code.
    decoder_coefs_ : list of ndarray, float32
        Weights of the decoder's hidden layers, as V in the Notes the last; empty without such.
    encoder_ : ndarray of shape (n_components, n_features), float32
        Weights of the first layer: the atoms, each times its scale.
    encoder_bias_ : ndarray of shape (n_components,), float32
        Biases of the first layer, in the units of the data.
    encoder_scales_ : ndarray of shape (n_encoder_layers, n_components), float32
        Scale of each atom in each layer, whose weights are
        ``encoder_scales_[l][:, None] * components_``.
    correction_biases_ : ndarray of shape (n_encoder_layers - 1, n_components), float32
        Biases of the further layers, in the units of the data.
    centers_ : ndarray of shape (1, n_features), float32
        The centre, in the units of the data.
    loss_curve_ : list of float
        Training loss of each epoch: the fraction of variance left unexplained.
    correlation_curve_ : list of float
        Mean correlation of the training samples with their reconstruction in each epoch, as the
        weights were when each sample was met.
    validation_scores_ : list of float or None
        Correlation of the held-out samples after each epoch of early stopping.
    best_validation_score_ : float or None
        The best of them.
    n_iter_ : int
        Number of epochs run; under partial_fit, of calls.
    activation_thresholds_ : ndarray of shape (1,), float32, or None
        Smallest activation of the last layer that counts, with sparsity="batch_topk".
    n_components_ : int
        Resolved number of atoms.
    k_ : int
        Resolved number of active atoms.
    atom_frequency_ : ndarray of shape (n_components,), float32
        Fraction of the last epoch's samples on which an atom fired (under partial_fit, of the
        last call's). 0 is a dead atom.
    n_features_in_ : int
        Number of features seen in fit, H * W * C of images.
    image_shape_ : tuple (H, W) or (H, W, C), or None
        Shape of the images seen in fit, or that its augmenter was given; None where these were
        rows and nothing tells it. Displays and reports take it from here.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    TopKSparseAutoencoder : One layer, or an ensemble of such.

    Notes
    -----
    From 50 samples on, fit holds some out: a twentieth, or a tenth if there are few, and at most
    1,024. They judge both halves, and are not learned. The result is the epoch with the lowest
    error on them; if further layers lower it in no epoch, they leave the code of the first layer
    as it is. With early_stopping, its held-out samples take this role; without enough samples, the
    training samples do.

    With hidden layers :math:`f(z) = \mathrm{ReLU}(\ldots \mathrm{ReLU}(z V_1) \ldots V_m)`,
    which have no biases, the decoder is

    .. math::

        \hat x = D^\top z + b + \Big(f(z) - \sum_h z_h f(e_h)\Big) V.

    A lone atom's own answer is taken away, so that the response to it alone is
    :math:`z_h d_h + b`, exactly: what is learned is how atoms interact. The hidden layers are
    trained by themselves at the end of fit, for max_iter epochs, by Adam on the residual of fixed
    codes; the samples held out choose the epoch, and as the start has :math:`V = 0`, they are not
    reconstructed worse than by the linear decoder. The augmenter's variants are not among the rows
    of this part. "omp", refit, partial_fit and :class:`~skl_sae.report.SAEReport` need a linear
    decoder, and refuse another.

    The same seed gives the same result, to the bit, on one machine, for any number of threads.

    References
    ----------
    .. [1] K. Gregor and Y. LeCun, "Learning fast approximations of sparse coding", ICML 2010.
    .. [2] J. Liu, X. Chen, Z. Wang and W. Yin, "ALISTA: analytic weights are as good as learned
       weights in LISTA", ICLR 2019.
    .. [3] T. Blumensath and M. Davies, "Iterative thresholding for sparse approximations",
       Journal of Fourier Analysis and Applications 14, 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import DeepTopKSparseAutoencoder
    >>> X = load_digits().data
    >>> one = DeepTopKSparseAutoencoder(128, n_encoder_layers=1, k=8, random_state=0).fit(X)
    >>> three = DeepTopKSparseAutoencoder(128, k=8, random_state=0).fit(X)
    >>> three.encoder_scales_.shape
    (3, 128)
    >>> three.score(X) > one.score(X)
    True
    """

    # What files and codes ask of every autoencoder, and what has no choice here.
    aggregate, n_estimators = "concat", 1

    _parameter_constraints: dict = {
        **TrainedSparseAutoencoder._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_encoder_layers": [Interval(Integral, 1, None, closed="left")],
        "sparsity": [StrOptions({"topk", "batch_topk"})],
        "decoder_hidden_layer_sizes": [tuple, list],
        "activation": [StrOptions({"relu"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_encoder_layers: int = 3,
        decoder_hidden_layer_sizes: tuple[int, ...] | list[int] = (),
        activation: Literal["relu"] = "relu",
        k: int | float | None = None,
        init: Literal["pca", "orthogonal", "random"] | ArrayLike = "pca",
        sparsity: Literal["topk", "batch_topk"] = "topk",
        transform_algorithm: Literal["topk", "omp"] = "topk",
        transform_tol: float | None = None,
        refit: bool = False,
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int = 32,
        max_iter: int = 30,
        aux_coef: float = 0.25,
        augmenter: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        checkpoint: AnyPath | None = None,
        checkpoint_interval: int | float = 1,
        sparse_output: bool = True,
        device: str | torch.device = "auto",
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: bool | int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_encoder_layers = n_encoder_layers
        self.decoder_hidden_layer_sizes = decoder_hidden_layer_sizes
        self.activation = activation
        self.k = k
        self.init = init
        self.sparsity = sparsity
        self.transform_algorithm = transform_algorithm
        self.transform_tol = transform_tol
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
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.sparse_output = sparse_output
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # --- Training ---

    def _check_size(self, X, n_samples, start):
        """Check constraints between parameters; the model's size, and that it begins tied."""
        self._check_numbers()
        self._check_decoder()
        n_features = X.shape[1]
        n_atoms = number_of_atoms(self.n_components, (n_samples, n_features), start)
        shape = 1, n_atoms, n_features
        if start is not None:
            self._check_start(start, shape)
        check_memory(shape, True)
        return Size(shape, number_active(self.k, n_atoms, n_features)), True

    def _check_start(self, start, shape):
        if start.shape != shape:
            raise ValueError(
                f"Expected the fitted shape (1, n_components, n_features) = {start.shape} to go on "
                f"from, got {shape}."
            )
        fitted = 1 if start.scales is None else len(start.scales)
        if fitted not in (1, self.n_encoder_layers):
            raise ValueError(
                f"Expected n_encoder_layers={fitted} as fitted, got {self.n_encoder_layers}."
            )

    def _check_decoder(self):
        """Check the sizes of hidden layers, and that nothing asks for a linear decoder."""
        sizes = self.decoder_hidden_layer_sizes
        if not all(isinstance(n, Integral) and not isinstance(n, bool) and n >= 1 for n in sizes):
            raise ValueError(
                f"Expected decoder_hidden_layer_sizes of at least 1 each, got {sizes!r}."
            )
        if len(sizes):
            self._refuse_linear_only()

    def _refuse_linear_only(self):
        asked = [("transform_algorithm='omp'", self.transform_algorithm == "omp"),
                 ("refit=True", self.refit)]  # fmt: skip
        for words, is_asked in asked:
            if is_asked:
                raise ValueError(
                    f"{words} solves for sums of atoms, and so needs a linear decoder. Expected "
                    "decoder_hidden_layer_sizes=()."
                )

    def partial_fit(
        self, X: Samples, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go on learning with one pass over the rows of X.

        As :meth:`TopKSparseAutoencoder.partial_fit`, on all layers of the encoder at once.

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

        Raises
        ------
        ValueError
            If the decoder has hidden layers: they suit the codes that fit ended with.
        """
        self._validate_params()
        if len(self.decoder_hidden_layer_sizes) or getattr(self, "decoder_coefs_", ()):
            raise ValueError(
                "partial_fit changes codes, which hidden layers of the decoder were fitted to. "
                "Expected decoder_hidden_layer_sizes=()."
            )
        return super().partial_fit(X, y, sample_weight)

    def _architecture(self, X=None, rows=None, rng=None, start=None):
        return DeepArchitecture(int(self.n_encoder_layers))

    def _stages(self, X, rows, rng, start, interrupted):
        settings = self._settings()
        if self.n_encoder_layers == 1:
            return [(FlatArchitecture(), settings)]
        has_layers = start is not None and start.scales is not None
        if interrupted is not None:
            has_layers = interrupted.config["n_corrections"] > 0
        if has_layers:
            return [(self._architecture(), settings)]
        n_linear = math.ceil(_LINEAR * self.max_iter)
        # Top-k chooses for all layers but the last, whose code alone a threshold suits.
        of_all_but_last = {"transform_algorithm": "topk", "sparsity": "topk"}
        linear = settings | {"max_iter": n_linear} | of_all_but_last
        return [(FlatArchitecture(), linear), (self._architecture(), settings)]

    def _trainer_of(self, stage, given, before):
        architecture, settings = stage
        return StageTrainer(settings, *given, architecture, before)

    def _further_attributes(self, trainer, rng):
        coefs = self._interactions(trainer, rng)
        trainer.rows_split = None  # which only a fit needs
        return {"decoder_coefs_": coefs}

    def _interactions(self, trainer, rng):
        """Weights of the decoder's hidden layers, in the units of the data."""
        sizes = tuple(int(size) for size in self.decoder_hidden_layer_sizes)
        if not sizes:
            return []
        coded = [
            Coded(trainer.model, trainer.judge.scaled(rows.sample(rng).copies()))
            for rows in trainer.rows_split
        ]
        # Hidden layers without biases scale as what they are given: units make no difference.
        return trained_interactions(sizes, *coded, trainer.settings, rng.randint(2**31 - 1))

    # --- Reconstruction ---

    def inverse_transform(self, X: SparseOrDense) -> np.ndarray:
        """Reconstruct rows from codes, by the hidden layers too where there are any.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes, as transform returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), float32
            The rows.
        """
        rows = super().inverse_transform(X)
        if self.decoder_coefs_:
            self._correct(rows, self._validate_codes(X))
        return rows

    @one_thread()
    def _correct(self, rows, codes):
        """Add what hidden layers make of codes."""
        coefs = [torch.tensor(coef) for coef in self.decoder_coefs_]
        for part in gen_batches(len(rows), ROWS_AT_A_TIME):
            dense = codes[part].toarray() if sp.issparse(codes) else codes[part]
            rows[part] += correction(coefs, torch.tensor(dense)).numpy()

    # --- Codes and state ---

    def _encoder(self, n_rows):
        if self.decoder_coefs_:
            self._refuse_linear_only()
        return super()._encoder(n_rows)

    def _coder(self, parameters, n_rows):
        if parameters.scales is None:
            return super()._coder(parameters, n_rows)
        model = DeepModel(parameters, k=self.k_, device=self._transform_device())
        model.expect(n_rows)
        return model

    def _parameters(self):
        parameters = super()._parameters()
        if len(self.correction_biases_):
            parameters.encoder = None  # which follows from the atoms and their scales
            parameters.scales = self.encoder_scales_
            parameters.correction_biases = self.correction_biases_
        return parameters

    def _parameter_attributes(self, parameters):
        p = parameters
        attributes = super()._parameter_attributes(p) | {"decoder_coefs_": []}
        if p.scales is None:
            return attributes | {
                "encoder_scales_": np.ones((1, p.shape[1]), np.float32),
                "correction_biases_": np.zeros((0, p.shape[1]), np.float32),
            }
        return attributes | {
            "encoder_": p.scales[0, :, None] * p.decoder[0], "_tied": False,
            "encoder_scales_": p.scales, "correction_biases_": p.correction_biases,
        }  # fmt: skip

    def _get_state(self):
        state = super()._get_state()
        return replace(
            state, model=self._going_on(state.model), n_corrections=len(self.correction_biases_),
            decoder_coefs=self.decoder_coefs_,
        )  # fmt: skip

    def _going_on(self, model):
        """The model with its optimizer, if it has as many layers as training would go on with."""
        if model is None:
            return None
        scales = model.parameters.scales
        return model if self.n_encoder_layers == (1 if scales is None else len(scales)) else None

    def _set_state(self, state):
        super()._set_state(state)
        self.decoder_coefs_ = state.decoder_coefs
