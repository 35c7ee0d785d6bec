"""TopKSparseAutoencoder: the scikit-learn face of the ensemble."""

import math
import os
import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    RealNotInt,
    StrOptions,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine._model import TopKEnsemble
from .._engine._pursuit import Pursuit, pursuit_batch_size
from .._engine._threads import one_thread, product
from .._engine.init._start import Code, given_dictionary, initial_arrays
from .._model_file._model import (
    parameters_as_json,
    read_checkpoint,
    read_model,
    version,
    write_checkpoint,
    write_model,
)
from .._training._loop import (
    EpochRows,
    Progress,
    Size,
    TrainingState,
    check_memory,
    hold_out,
    n_judges,
    own_generator,
    resolve_device,
)
from ..metrics import pearson_correlation, row_correlations
from ._sparse_output import mean_codes, to_csr

# A loss so far above that of always answering the mean, which is 1, is no longer training.
_DIVERGED = 1e6
# "auto" learning rate: of the rates tried on digits (64 features), MNIST (784) and photographs
# (3,072 and 12,288), those that served held-out rows best went about so.
_RATE, _LARGEST_RATE = 15.0, 0.01
# Pre-activations held at a time by transform.
_CODES_AT_A_TIME = 2**23
_DEAD_AFTER_BATCHES = 100
# The default number of atoms: at most, for each feature, and for each row. More atoms than there
# are signs of directions in the rows stay dead.
_MOST_ATOMS, _ATOMS_OF_FEATURE, _ATOMS_OF_ROW = 1024, 4, 2
# The default k leaves so many features to each active atom: a code is shorter than its row.
_FEATURES_OF_ACTIVE = 2
# Part of the epochs after which the rows that judge a fit are returned to training; and as long
# as none has served them better than the start.
_JUDGED, _JUDGED_AT_MOST = 2 / 3, 0.9
# Share of dead atoms above which fit says so: of a number of atoms that is given, and of one that
# follows from the data, of which half may be silent.
_MANY_DEAD, _MANY_DEAD_BY_DEFAULT = 0.55, 0.75
# It says so after so many epochs, which would have revived others; and of fewer rows than these
# most atoms of a large dictionary are dead in any case.
_EPOCHS_TO_REVIVE, _ROWS_TO_REVIVE = 10, 50
# What the products of a row with atoms may come to.
_LARGEST_SUM = 1e38
_LEAST_BIAS = np.finfo(np.float32).min  # of an atom that is silent whatever the units
# Rounds that adapt the atoms to OMP: at most, and for each row per feature. Few rows of many
# features are soon known by heart: of photographs (800 rows of 3,072) every round after the second
# leaves more of others, of digits (22 rows a feature) 80 rounds still gain.
_MOST_FINISHING_ROUNDS, _FINISHING_ROUNDS = 80, 8
_SEEN = ("n_features_in_", "feature_names_in_")  # what validation notes about the data


class TopKSparseAutoencoder(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""Sparse codes of rows by an ensemble of Top-K sparse autoencoders.

    Member :math:`e` has an encoder :math:`W_e`, an encoder bias :math:`c_e`, unit-norm atoms
    :math:`D_e` and a centre :math:`b_e`, and codes a row :math:`x` as

    .. math::

        z_e = \mathrm{TopK}(\mathrm{ReLU}(W_e (x - b_e) + c_e),\ k),

    .. math::

        \hat x_e = D_e^\top z_e + b_e, \qquad
        \hat x = \tfrac{1}{E} \sum_e \hat x_e,

    with at most :math:`k` non-zeros, none negative [1]_ [2]_. Training minimises

    .. math::

        \tfrac{1}{E} \sum_e \mathrm{MSE}(x, \hat x_e)
        + \lambda \operatorname{mean}_{e<f} \mathrm{MSE}(z_e, z_f)
        + \alpha \tfrac{1}{E} \sum_e \mathrm{AuxK}_e

    by Adam, where :math:`\lambda` is ``consistency``, :math:`\alpha` is ``aux_coef``, and
    AuxK [2]_ lets the atoms that have not fired for a whole epoch explain what
    the others left over. During fit the data are divided by one number, so that the mean
    variance of a feature is 1; what is learned is in the units of the data.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms of a member (its hidden size). None is 4 for each feature, at most 2
        for each row of fit and at most 1,024.
    k : int, float or None, default=None
        Number of active atoms of a row and member, at most (see ``sparsity``). A float in
        (0, 1) is a fraction of n_components. None is 5 % of n_components, at most half the
        features. At least 1 in either case.
    sparsity : {"topk", "batch_topk"}, default="topk"
        Who shares the budget of active atoms. "topk": each row has k. "batch_topk": in training
        the k * batch_size largest activations of a batch count, whichever rows they are of, so
        that complex rows get more than simple ones, and k on average [5]_. A threshold learned
        on the way decides thereafter, so the codes of a row do not depend on others; rows
        unlike those learned may get more than k on average.
    n_estimators : int, default=1
        Number of members, trained side by side on the same batches.
    tied : bool or "auto", default="auto"
        Whether the encoder is the transposed decoder. It then takes half the memory, and
        learns less by heart. "auto" ties them unless sparsity="batch_topk", whose threshold
        compares activations of different rows and so asks more of the encoder; a fit that goes
        on from an earlier one leaves them as they are.
    init : {"pca", "orthogonal", "random"} or array-like, default="pca"
        The atoms to start from. "pca": plus and minus the principal directions of the data
        (for several members, of four fifths of it each), rotated among themselves so that few of
        them reconstruct a row [3]_, and faint random directions once these are used up. Where
        rows that take no part gain by it, the directions are those of 8 to 32 groups of
        features that vary together [6]_, which for images are patches. Rows held out (see
        Notes) decide how freely the random directions answer, and whether plain principal
        directions are better: as a start they leave no more of any row than PCA with k
        components does;
        "orthogonal": random, orthogonal where possible; "random": random. An array has shape
        (n_components, n_features) for one member and (n_estimators, n_components, n_features)
        for several; its rows are scaled to unit norm.
    consistency : float, default=0.0
        Weight of the mean squared difference between the codes of two members.
    aggregate : {"concat", "mean"}, default="concat"
        What transform returns for several members: their codes side by side
        (n_estimators * n_components columns), or their mean (n_components columns). The mean
        makes sense only of members whose atoms correspond, to which ``consistency`` of about
        1 draws them, at the price of a worse reconstruction from codes side by side.
    transform_algorithm : {"topk", "omp"}, default="topk"
        How rows are coded once the atoms are learned. "topk": by the encoder, in one pass.
        "omp": by orthogonal matching pursuit [4]_ on the atoms, which takes longer and
        reconstructs better from as many numbers; these are of either sign, and k for each row
        whatever ``sparsity`` trained the atoms. With "omp", fit
        ends with rounds that adapt the atoms to it, eight for each row per feature and at most
        80, after which the encoder's own codes fit them less well.
    learning_rate : float or "auto", default="auto"
        Largest step size of Adam. In fit the steps grow to it over the first tenth of their
        number and then shrink to nothing; in partial_fit all are of this size. "auto" is
        15 / n_features ** 1.5, at most 0.01.
    batch_size : int, default=32
        Number of rows of a training step.
    max_iter : int, default=30
        Number of epochs.
    aux_coef : float, default=0.25
        Weight of AuxK, the dead atoms' loss.
    augmenter : transformer or None, default=None
        Varies the rows anew for every epoch of fit, by its fit_transform, which may return
        more rows than it is given: :class:`~skl_sae.ImageAugmenter`, for one. It is cloned,
        and each epoch seeds its random_state. Rows that early stopping holds out, and those
        of partial_fit and transform, are left as they are. A first draw determines the scale
        and the initial atoms.
    early_stopping : bool, default=False
        Whether to hold out rows and to stop when their correlation no longer improves. The
        best weights are kept.
    validation_fraction : float, default=0.1
        Fraction of the rows that early stopping holds out.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which early stopping stops.
    tol : float, default=1e-4
        Smallest gain in correlation that counts as an improvement.
    checkpoint : str, path-like or None, default=None
        A file to which fit writes its whole state every so many epochs, so that an
        interrupted fit can be resumed: with ``warm_start=True``, fit goes on from the file if
        there is one, to the result that it would have had without interruption. It must be
        given the same rows and parameters. A file serves one fit: those of a search would
        overwrite each other's. :meth:`save` leaves it out.
    checkpoint_interval : int, default=1
        Number of epochs from one checkpoint to the next. Each writes the weights and Adam's
        moments: twelve bytes a weight.
    sparse_output : bool, default=True
        Whether transform returns a CSR matrix or a dense array.
    device : str or torch.device, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first of CUDA,
        MPS and CPU that is there. Fitted attributes are NumPy arrays on any device.
    warm_start : bool, default=False
        Whether fit starts from the fitted weights, as for fine-tuning on other data; and
        whether it resumes the fit of an existing checkpoint, which comes first.
    random_state : int, RandomState instance or None, default=None
        Determines the initial atoms, the order of the rows, the rows held out and the
        augmenter's random_state.
    verbose : bool or int, default=0
        Whether to print a line an epoch.

    Attributes
    ----------
    components_ : ndarray of shape (n_estimators * n_components, n_features), float32
        The atoms, of unit norm, member after member.
    encoder_ : ndarray of shape (n_estimators * n_components, n_features), float32
        The encoders' weights. The same array as ``components_`` if tied.
    encoder_bias_ : ndarray of shape (n_estimators * n_components,), float32
        The encoders' biases, in the units of the data.
    centers_ : ndarray of shape (n_estimators, n_features), float32
        The members' centres, in the units of the data.
    loss_curve_ : list of float
        Training loss of each epoch without the dead atoms' part, in scaled units: where
        consistency is 0, the mean fraction of variance that a member leaves unexplained.
    correlation_curve_ : list of float
        Mean correlation of the training rows with their reconstruction in each epoch, as
        the weights were when each row was met.
    validation_scores_ : list of float or None
        Correlation of the held-out rows after each epoch of early stopping.
    best_validation_score_ : float or None
        The best of them.
    n_iter_ : int
        Number of epochs run; under partial_fit, of calls.
    activation_thresholds_ : ndarray of shape (n_estimators,), float32, or None
        The members' smallest activation that counts, in the units of the data, where
        sparsity="batch_topk".
    n_components_ : int
        The number of atoms of a member that n_components means.
    k_ : int
        The number of active atoms that k means.
    atom_frequency_ : ndarray of shape (n_estimators * n_components,), float32
        Fraction of the last epoch's rows on which an atom fired (under partial_fit, of the
        last call's). 0 is a dead atom.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    sklearn.decomposition.PCA : Dense codes by the best linear projection.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes by solving for them.

    Notes
    -----
    Of 50 rows and more, fit holds some out for two thirds of its epochs: a twentieth, or a
    tenth where that is few, and at most 1,024. They choose the start, and training goes on from
    the epoch that served them best if the last has become worse. Then they are returned, and
    the last third of the epochs learns all rows. If no epoch serves them as well as the start,
    they stay out up to nine tenths of the epochs; if none has then, the start is the result,
    made from all rows. With early_stopping, the rows that it holds out take this part.

    The same seed gives the same result, to the bit, on one machine.

    Where a few rows hold most of the variance, as in data with heavy tails, they determine the
    atoms. Limit them first, by :class:`~sklearn.preprocessing.RobustScaler` followed by
    clipping, or by :class:`~sklearn.preprocessing.QuantileTransformer`.

    References
    ----------
    .. [1] A. Makhzani and B. Frey, "k-Sparse Autoencoders", 2013, arXiv:1312.5663.
    .. [2] L. Gao et al., "Scaling and evaluating sparse autoencoders", 2024,
       arXiv:2406.04093.
    .. [3] S. Lesage, R. Gribonval, F. Bimbot and L. Benaroya, "Learning unions of orthonormal
       bases with thresholded singular value decomposition", ICASSP 2005.
    .. [4] R. Rubinstein, M. Zibulevsky and M. Elad, "Efficient implementation of the K-SVD
       algorithm using batch orthogonal matching pursuit", Technion CS-2008-08, 2008.
    .. [5] B. Bussmann, P. Leask and N. Nanda, "BatchTopK sparse autoencoders", 2024,
       arXiv:2412.06410.
    .. [6] A. Ng, M. Jordan and Y. Weiss, "On spectral clustering: analysis and an algorithm",
       NIPS 2001.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> X = load_digits().data
    >>> sae = TopKSparseAutoencoder(n_components=128, k=8, random_state=0).fit(X)
    >>> codes = sae.transform(X)
    >>> codes.shape, codes.nnz <= 8 * len(X)
    ((1797, 128), True)
    >>> sae.score(X) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "k": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "sparsity": [StrOptions({"topk", "batch_topk"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "tied": ["boolean", StrOptions({"auto"})],
        "init": [StrOptions({"pca", "orthogonal", "random"}), "array-like"],
        "consistency": [Interval(Real, 0, np.inf, closed="left")],
        "aggregate": [StrOptions({"concat", "mean"})],
        "transform_algorithm": [StrOptions({"topk", "omp"})],
        "learning_rate": [Interval(Real, 0, np.inf, closed="neither"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "aux_coef": [Interval(Real, 0, np.inf, closed="left")],
        "augmenter": [HasMethods("fit_transform"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, np.inf, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_interval": [Interval(Integral, 1, None, closed="left")],
        "sparse_output": ["boolean"],
        "device": [str, torch.device],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _watch = None  # the command's own, called after each training step of fit

    def __init__(
        self,
        n_components=None,
        *,
        k=None,
        sparsity="topk",
        n_estimators=1,
        tied="auto",
        init="pca",
        consistency=0.0,
        aggregate="concat",
        transform_algorithm="topk",
        learning_rate="auto",
        batch_size=32,
        max_iter=30,
        aux_coef=0.25,
        augmenter=None,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        tol=1e-4,
        checkpoint=None,
        checkpoint_interval=1,
        sparse_output=True,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.k = k
        self.sparsity = sparsity
        self.n_estimators = n_estimators
        self.tied = tied
        self.init = init
        self.consistency = consistency
        self.aggregate = aggregate
        self.transform_algorithm = transform_algorithm
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

    # --- Public methods ---

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the atoms from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, such as flattened images. Computed in float32.
        y : None
            Ignored.

        Returns
        -------
        self : TopKSparseAutoencoder
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not usable, or if training diverges.
        MemoryError
            If the weights cannot fit into this machine's memory.

        Warns
        -----
        ConvergenceWarning
            If more than 55 % of the atoms have not fired in the last of at least ten epochs over
            at least 50 rows (three quarters, where n_components is None), unless aux_coef is 0.
        """
        seen = {name: getattr(self, name) for name in _SEEN if hasattr(self, name)}
        try:
            return self._fit(X, y)
        except BaseException:
            # What was fitted before, if anything, stays whole.
            for name in _SEEN:
                vars(self).pop(name, None)
            vars(self).update(seen)
            raise

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Go on learning with one pass over the rows of X.

        The first call on an unfitted estimator takes the scale of the data and the initial
        atoms from its rows. Later calls, also those that follow fit, go on with the weights
        and, as long as the object lives, with the optimizer's moments. A call that fails
        leaves the weights as they were.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, of which at least 1.
        y : None
            Ignored.

        Returns
        -------
        self : TopKSparseAutoencoder
            The fitted estimator.
        """
        first_pass = not hasattr(self, "components_")
        X = self._validate_rows(X, reset=first_pass)
        start = None if first_pass else self._fitted_arrays()
        shape = math.inf, X.shape[1]  # nobody knows how many rows are to come
        size = self._check_parameters(shape, start)
        rng = own_generator(self.random_state)
        state = getattr(self, "_training_state", None)
        if state is None or not state.suits(size.k, self.sparsity):
            if first_pass:
                state = TrainingState.from_data(X)
                self._start_engine(state, X, start, size, rng)
            else:
                state = TrainingState(self._offset, self._scale)
                self._start_engine(state, X, start, size, rng)
        state.n_planned_steps = None
        before = [a.copy() for a in start or () if a is not None]
        # Bounded, since torch compares with numbers of 64 bits.
        dead_after = max(len(X), _DEAD_AFTER_BATCHES * min(self.batch_size, 2**40))
        n_calls = getattr(self, "n_iter_", 0)
        try:
            epoch = self._run_epoch(state, X, rng, dead_after, n_calls)
        except BaseException:
            if before:
                self._restore(before)
            raise
        history = {
            "n_iter_": n_calls + 1,
            "loss_curve_": [*getattr(self, "loss_curve_", []), epoch[0]],
            "correlation_curve_": [*getattr(self, "correlation_curve_", []), epoch[1]],
            "atom_frequency_": epoch[2],
            "validation_scores_": None,
            "best_validation_score_": None,
        }
        self._store(state, history)
        return self

    def transform(self, X):
        """Sparse codes of the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        codes : csr_matrix or ndarray, float32, of shape (n_samples, n_features_out)
            At most ``k_`` activations a row and member (about ``k_`` on average with
            sparsity="batch_topk"), in the units of the data, and positive unless
            transform_algorithm="omp"; n_features_out is n_estimators * n_components,
            or n_components when aggregate="mean".
        """
        check_is_fitted(self)
        self._refuse_sparse_frames()
        X = self._validate_rows(X, reset=False)
        codes = self._codes(X)
        return codes if self.sparse_output else codes.toarray()

    def fit_transform(self, X, y=None):
        """Fit to X, then return its codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.

        Returns
        -------
        codes : csr_matrix or ndarray, float32, of shape (n_samples, n_features_out)
            See :meth:`transform`.
        """
        self._refuse_sparse_frames()
        return self.fit(X, y).transform(X)

    def inverse_transform(self, X):
        """Reconstruct rows from codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_out)
            Codes, as transform returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), float32
            The mean of the members' reconstructions.
        """
        check_is_fitted(self)
        X = check_array(X, accept_sparse="csr", dtype=np.float32, input_name="X")
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"Expected codes with {self._n_features_out} columns, got {X.shape[1]}."
            )
        atoms = self.components_
        if self.aggregate == "mean":
            atoms = atoms.reshape(len(self.centers_), -1, atoms.shape[1]).mean(axis=0)
        rows = X @ atoms if sp.issparse(X) else _product(X, atoms)
        if self.aggregate == "concat":
            rows /= len(self.centers_)
        rows += self.centers_.mean(axis=0)
        return rows

    def score_samples(self, X):
        """Pearson correlation of each row with its reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        correlations : ndarray of shape (n_samples,), float64
            Between -1 and 1; 0 for a constant row, whose correlation is undefined.
        """
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        return np.nan_to_num(row_correlations(X, self._reconstruct(X)), nan=0.0)

    def score(self, X, y=None):
        """Mean Pearson correlation of rows with their reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.

        Returns
        -------
        correlation : float
            See :func:`skl_sae.pearson_correlation`.
        """
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        return pearson_correlation(X, self._reconstruct(X))

    def save(self, path, *, optimizer=False):
        """Write the fitted model to one file, from which :meth:`load` reads it.

        The file is replaced as a whole or not at all, also when the machine stops half-way.
        It is in the safetensors format, and runs no code when it is loaded. Callbacks are not
        kept, nor is ``checkpoint``: whoever made a file shall not choose what is overwritten.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the suffix ``.safetensors``.
        optimizer : bool, default=False
            Whether to keep the optimizer's moments too, so that partial_fit goes on as if
            the model had not been saved; the file is then three times as large. Without
            them the moments begin anew.

        Raises
        ------
        ModelFileError
            If path is there and is no regular file; if a parameter cannot be kept: random_state
            must be an int or None, and augmenter None or an :class:`~skl_sae.ImageAugmenter`;
            or if load would refuse the file, as where n_components is no longer that of the
            fitted atoms, or where these have been changed to other than unit norm.
        OSError
            If the file cannot be written. What was there before is then left as it was.

        Warns
        -----
        UserWarning
            If ``checkpoint`` is set, which the file does not keep.

        Examples
        --------
        >>> import os, tempfile
        >>> from sklearn.datasets import load_digits
        >>> from skl_sae import TopKSparseAutoencoder
        >>> X = load_digits().data[:200]
        >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "digits.safetensors")
        ...     sae.save(path)
        ...     loaded = TopKSparseAutoencoder.load(path)
        >>> bool((loaded.transform(X) != sae.transform(X)).nnz == 0)
        True
        """
        check_is_fitted(self)
        write_model(path, self, optimizer=optimizer)

    @classmethod
    def load(cls, path):
        """Read a model that :meth:`save` wrote; safe also with files from strangers.

        Nothing in the file is run. Its size, format, version, parameters and the names, shapes
        and types of its arrays are checked before memory is taken for them, then a checksum,
        and that all numbers are finite and in their range. The checksum tells damage, not
        malice: whoever can write a file can give it any atoms. No path comes out of it:
        ``checkpoint`` is None.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        estimator : TopKSparseAutoencoder
            The fitted estimator.

        Raises
        ------
        ModelFileError
            If the file is not a model that this version can read, whole and usable.
        FileNotFoundError
            If there is none.

        Warns
        -----
        UserWarning
            If another version of skl_sae wrote the file.
        """
        estimator, written_by = read_model(path, cls)
        if written_by is not None:
            _warn_of_version(written_by)
        return estimator

    # --- Validation ---

    def _validate_rows(self, X, *, reset):
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"Found array with dim {X.ndim}, while dim <= 2 is required by "
                f"{type(self).__name__}. Give each image as one row: X.reshape(len(X), -1)."
            )
        # A float64 number too large for float32 becomes inf, which is refused just after.
        with np.errstate(over="ignore", invalid="ignore"):
            X = validate_data(self, X, dtype=np.float32, order="C", reset=reset)
        largest = _LARGEST_SUM / math.sqrt(X.shape[1])
        if not -largest < X.min() <= X.max() < largest:
            raise ValueError(
                "Input X contains a value too large for sums in float32, which would be infinity: "
                f"expected numbers below {largest:.1e} for {X.shape[1]} features. Divide X by a "
                "number."
            )
        return X

    def _check_parameters(self, shape, start):
        """Everything about the parameters that no constraint can say; the model's size."""
        for name in ("n_components", "k", "n_estimators", "batch_size", "max_iter",
                     "n_iter_no_change", "checkpoint_interval"):  # fmt: skip
            if isinstance(getattr(self, name), (bool, np.bool_)):
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be a number. "
                    f"Got {getattr(self, name)!r} instead."
                )
        shape = self.n_estimators, self._n_atoms(shape, start), shape[1]
        k = self._resolve_k(*shape[1:])
        if start is not None and start[0].shape != shape:
            raise ValueError(
                "Expected the fitted shape (n_estimators, n_components, n_features) = "
                f"{start[0].shape} to go on from, got {shape}."
            )
        tied = self._ties(start)
        if start is not None and tied != (start[1] is None):
            raise ValueError(f"Expected tied={not tied} as fitted, got tied={tied}.")
        check_memory(shape, tied)
        return Size(shape, k)

    def _ties(self, start=None):
        """Whether a fit that starts from these arrays has tied weights."""
        if self.tied != "auto":
            return bool(self.tied)
        return self.sparsity == "topk" if start is None else start[1] is None

    def _n_atoms(self, shape, start=None):
        """The number of atoms of a member that n_components means for rows of this shape."""
        if self.n_components is not None:
            return int(self.n_components)
        if start is not None:
            return start[0].shape[1]
        n_rows, n_features = shape
        return min(_MOST_ATOMS, _ATOMS_OF_FEATURE * n_features, _ATOMS_OF_ROW * n_rows)

    def _resolve_k(self, n_components, n_features):
        if self.k is None:
            return max(1, min(int(0.05 * n_components), n_features // _FEATURES_OF_ACTIVE))
        if isinstance(self.k, Integral):
            if self.k > n_components:
                raise ValueError(f"Expected k <= n_components, got k={self.k} > {n_components}.")
            return int(self.k)
        return max(1, int(self.k * n_components))

    def _refuse_sparse_frames(self):
        container = _get_output_config("transform", self)["dense"]
        if self.sparse_output and container != "default":
            raise ValueError(
                f"{container.capitalize()} output does not support sparse data. Set "
                "sparse_output=False to output dataframes, or set_output(transform='default')."
            )

    # --- Training ---

    def _fit(self, X, y):
        self._training_state = None  # an earlier optimizer's moments would only take memory
        start = self._warm_start_arrays()
        X = self._validate_rows(X, reset=start is None)
        size = self._check_parameters(X.shape, start)
        rng = own_generator(self.random_state)
        interrupted = self._interrupted_fit(X.shape[1])
        if interrupted is not None:
            rng.set_state(interrupted.first_random_state)
        first_random_state = rng.get_state()
        X_train, X_held_out = hold_out(X, self._n_held_out(len(X)), rng)
        epochs = EpochRows(X_train, self.augmenter, rng)
        progress = Progress()
        rows = epochs.draw()
        # Rows that judge are learned, too, in the end: the offset is the mean of all.
        learned_as_given = self.augmenter is None and not self.early_stopping
        state = TrainingState.from_data(X if learned_as_given else rows)
        state.n_rows = len(rows)
        self._begin(state, rows, start, size, rng, X_held_out, progress, interrupted)
        self._plan_steps(state, len(X_train), len(X))
        state.watch = self._watch
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        keep = partial(self._keep_checkpoint, state, rng, first_random_state)
        self._train(state, epochs, X, X_held_out, context, progress, keep)
        state.watch = None
        state = self._settle(state, progress, X, X_held_out, start, rng)
        if self.transform_algorithm == "omp":
            n_rounds = min(_MOST_FINISHING_ROUNDS, _FINISHING_ROUNDS * len(X) // X.shape[1])
            state.finish_atoms(X, n_rounds)
        self._store(state, progress.history())
        if self.aux_coef and self.n_iter_ >= _EPOCHS_TO_REVIVE and len(X) >= _ROWS_TO_REVIVE:
            many = _MANY_DEAD_BY_DEFAULT if self.n_components is None else _MANY_DEAD
            _warn_of_dead_atoms(self.atom_frequency_, many)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=lambda: {})
        return self

    def _n_held_out(self, n_rows):
        """How many rows early stopping holds out, or judge the fit for a while."""
        if not self.early_stopping:
            return n_judges(n_rows)
        n_held_out = max(1, int(self.validation_fraction * n_rows))
        if n_held_out >= n_rows:
            raise ValueError(
                f"Expected at least 2 samples for early stopping, got n_samples={n_rows}."
            )
        return n_held_out

    def _plan_steps(self, state, n_train, n_all):
        """The length of the learning rate's schedule."""
        variants = state.n_rows / n_train  # of each row, by the augmenter
        n_early = self.max_iter if self.early_stopping else int(_JUDGED * self.max_iter)
        n_late = self.max_iter - n_early
        state.n_planned_steps = sum(
            n_epochs * math.ceil(variants * n_rows / self.batch_size)
            for n_epochs, n_rows in ((n_early, n_train), (n_late, n_all))
        )

    def _interrupted_fit(self, n_features):
        """The fit to resume, if there is one."""
        if self.checkpoint is None:
            return None
        if self.warm_start and os.path.exists(self.checkpoint):
            return read_checkpoint(self.checkpoint, self, n_features)
        parameters_as_json(self.checkpoint, self)  # what cannot be written fails now, not later
        return None

    def _keep_checkpoint(self, state, rng, first_random_state, progress):
        if self.checkpoint is None:
            return
        at_end = progress.n_epochs == self.max_iter
        at_end |= progress.has_stalled(self.n_iter_no_change, self.tol)
        if at_end or progress.n_epochs % self.checkpoint_interval == 0:
            write_checkpoint(self.checkpoint, self, state, progress, rng, first_random_state)

    def _begin(self, state, X, start, size, rng, X_held_out, progress, interrupted):
        """Give a fit its engine: a new one, which is judged, or that of the interrupted fit."""
        if interrupted is None:
            self._start_engine(state, X, start, size, rng, X_held_out, progress)
            self._judge_start(state, X_held_out, progress)
        else:
            device = resolve_device(self.device)
            interrupted.restore(self.checkpoint, state, progress, rng, device)

    def _start_engine(self, state, X, start, size, rng, X_held_out=None, progress=None):
        """Give a state its engine, with the fitted arrays to start from or with new ones."""
        device = resolve_device(self.device)
        if start is None:
            start = self._initial_arrays(X, state, size, rng, X_held_out, progress)
        else:
            start = state.scale_arrays(start)
        thresholds = start[4]
        if self.sparsity == "topk":
            thresholds = None
        elif thresholds is None:
            thresholds = np.zeros(self.n_estimators, np.float32)
        state.engine = TopKEnsemble(*start[:4], thresholds, k=size.k, device=device)
        if self.sparsity == "batch_topk" and start[4] is None:
            some = X if X_held_out is None or not len(X_held_out) else X_held_out
            state.fit_thresholds(some)

    def _judge_start(self, state, X_held_out, progress):
        if not len(X_held_out):
            return
        if self.early_stopping:
            progress.keep_best(state.score(X_held_out, self.batch_size), state)
        else:
            progress.add_error(state.error(X_held_out, self.consistency), state)

    def _initial_arrays(self, X, state, size, rng, X_held_out=None, progress=None):
        """Decoder, encoder (None if tied) and so on to start from, in scaled units."""
        shape = size.shape
        if isinstance(self.init, str):
            generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
            rows = judges = None
            if self.init == "pca":
                rows = torch.from_numpy(state.scale_rows(X))
                if X_held_out is not None and len(X_held_out):
                    judges = torch.from_numpy(state.scale_rows(X_held_out))
            code = Code(size.k, self.sparsity == "topk")
            known = None if progress is None else progress.choices
            start, choices = initial_arrays(self.init, rows, shape, code, generator, judges, known)
            if progress is not None:
                progress.choices = choices
        else:
            decoder = given_dictionary(self.init, shape)
            start = decoder, np.zeros(shape[:2], np.float32), np.zeros(shape[::2], np.float32)
        decoder, bias, centers = start
        encoder = None if self._ties() else decoder.copy()
        return decoder, encoder, bias, centers, None

    def _train(self, state, epochs, X_all, X_held_out, context, progress, keep):
        """The epochs of fit that are left."""
        stop = False
        patience = self.n_iter_no_change, self.tol
        while progress.n_epochs < self.max_iter and not (stop or progress.has_stalled(*patience)):
            if progress.is_judging and self._are_judges_due(progress):
                progress.return_judges(state, X_held_out)
            if not (progress.is_judging or self.early_stopping):
                epochs.X = X_all
            X = None  # freed before the next rows are drawn
            X = epochs.draw()
            epoch_context = context.subcontext(task_name="epoch")
            epoch_context.call_on_fit_task_begin(estimator=self, X=X)
            progress.add(*self._run_epoch(state, X, epochs.rng, len(X), progress.n_epochs))
            if self.early_stopping:
                progress.add_score(state.score(X_held_out, self.batch_size), state)
            elif progress.is_judging:
                progress.add_error(state.error(X_held_out, self.consistency), state)
            self._print_epoch(progress)
            keep(progress)
            stop = epoch_context.call_on_fit_task_end(
                estimator=self, X=X,
                reconstruction_attributes=lambda: self._attributes(state, state.copied_arrays()),
            )  # fmt: skip

    def _are_judges_due(self, progress):
        """Whether the rows that judge are returned to training before the next epoch."""
        part = _JUDGED_AT_MOST if progress.has_begun_best else _JUDGED
        return progress.n_epochs >= int(part * self.max_iter)

    def _settle(self, state, progress, X, X_held_out, start, rng):
        """The state that fit ends with: that of the last epoch, or a better one."""
        if not progress.best_arrays:
            return state
        is_principal = start is None and isinstance(self.init, str) and self.init == "pca"
        if progress.has_begun_best and is_principal:
            size, state = state.size, TrainingState.from_data(X)
            self._start_engine(state, X, None, size, rng, X_held_out, progress)
            progress.frequency = None
            if state.engine.thresholds is not None:  # fitted to rows that were not learned
                state.engine.thresholds.copy_(torch.from_numpy(progress.best_arrays["thresholds"]))
        elif self.early_stopping or progress.has_begun_best:
            progress.go_back(state)
        elif state.error(X_held_out, self.consistency) > -progress.best:
            progress.go_back(state)  # it is worse on these rows, though it has learned them by now
        if progress.threshold_factors is not None:
            state.scale_thresholds(progress.threshold_factors)
        if progress.frequency is None or not progress.frequency.any():  # of the start
            progress.frequency = state.firing_frequency(X)
        return state

    def _run_epoch(self, state, X, rng, dead_after, n_epochs):
        """One pass over the rows: mean loss, mean correlation, how often each atom fired."""
        learning_rate = self.learning_rate
        if learning_rate == "auto":
            learning_rate = min(_LARGEST_RATE, _RATE / X.shape[1] ** 1.5)
        result = state.run_epoch(
            X, rng, self.batch_size, float(learning_rate), consistency=self.consistency,
            aux_coef=self.aux_coef, dead_after=dead_after,
        )  # fmt: skip
        if not result[0] < _DIVERGED:
            raise ValueError(
                f"Training diverged in epoch {n_epochs + 1} (loss {result[0]:.3g}) with "
                f"learning_rate={learning_rate:.3g}. Try a smaller learning_rate."
            )
        return result

    def _print_epoch(self, progress):
        if self.verbose:
            held_out = f"  held out {progress.scores[-1]:.4f}" if progress.scores else ""
            print(
                f"Epoch {progress.n_epochs}/{self.max_iter}  loss {progress.losses[-1]:.4f}  "
                f"correlation {progress.correlations[-1]:.4f}{held_out}"
            )

    def _store(self, state, history):
        """Make the result of training public."""
        for name, value in self._attributes(state, state.engine.arrays()).items():
            setattr(self, name, value)
        for name, value in history.items():
            setattr(self, name, value)
        self._training_state = state

    def _attributes(self, state, arrays):
        """Fitted attributes, in the units of the data."""
        decoder, encoder, bias, centers, thresholds = arrays
        n_features = decoder.shape[2]
        components = decoder.reshape(-1, n_features)
        return {
            "components_": components,
            "encoder_": components if encoder is None else encoder.reshape(-1, n_features),
            "encoder_bias_": np.maximum(state.scale * bias.astype(np.float64), _LEAST_BIAS)
            .astype(np.float32)
            .ravel(),
            "centers_": (state.offset + state.scale * centers).astype(np.float32),
            "activation_thresholds_": (
                None if thresholds is None else (state.scale * thresholds).astype(np.float32)
            ),
            "n_components_": decoder.shape[1],
            "k_": state.engine.k,
            "_tied": encoder is None,
            "_offset": state.offset,
            "_scale": state.scale,
        }

    def _fitted_arrays(self):
        """Decoder, encoder (None if tied), bias, centres and thresholds (or None) as fitted."""
        shape = *self.centers_.shape[:1], -1, self.centers_.shape[1]
        return (
            self.components_.reshape(shape),
            None if self._tied else self.encoder_.reshape(shape),
            self.encoder_bias_.reshape(shape[:2]),
            self.centers_,
            self.activation_thresholds_,
        )

    def _warm_start_arrays(self):
        if not (self.warm_start and hasattr(self, "components_")):
            return None
        return self._fitted_arrays()

    def _restore(self, before):
        """Put the fitted arrays back as they were; the optimizer then starts anew."""
        arrays = [a for a in self._fitted_arrays() if a is not None]
        for array, old in zip(arrays, before, strict=True):
            array[...] = old
        self._training_state = None

    # --- Codes ---

    @one_thread()
    def _codes(self, X):
        """CSR codes of validated rows."""
        arrays = (a if a is None or a.flags.writeable else a.copy() for a in self._fitted_arrays())
        engine = TopKEnsemble(*arrays, k=self.k_, device=self._transform_device())
        n_members, n_components = engine.encoder_bias.shape
        encode, batch_size = engine.encode, max(1, _CODES_AT_A_TIME // (n_members * n_components))
        if self.transform_algorithm == "omp":
            encode, batch_size = Pursuit(engine).encode, pursuit_batch_size(n_components, self.k_)
        parts = []
        for rows in gen_batches(len(X), batch_size):
            activations, atoms = encode(torch.tensor(X[rows], device=engine.device))
            parts.append(to_csr(activations.cpu(), atoms.cpu(), n_components))
        codes = sp.vstack(parts, format="csr")
        if self.aggregate == "mean" and n_members > 1:
            codes = mean_codes(codes, n_members)
        return codes

    def _reconstruct(self, X):
        return self.inverse_transform(self._codes(X))

    def _transform_device(self):
        """The device asked for, or the CPU on a machine that lacks it."""
        try:
            return resolve_device(self.device)
        except ValueError as error:
            if not getattr(self, "_device_warned", False):
                warnings.warn(f"{error} Using the CPU.", UserWarning, stacklevel=4)
                self._device_warned = True
            return torch.device("cpu")

    @property
    def _n_features_out(self):
        n_codes = len(self.components_)
        return n_codes if self.aggregate == "concat" else n_codes // len(self.centers_)

    def __getstate__(self):
        # Nothing of torch is kept: the state must load where there is neither the device
        # nor this version. The optimizer's moments go with it.
        state = super().__getstate__().copy()
        state.pop("_training_state", None)
        state.pop("_device_warned", None)
        return {**state, "_skl_sae_version": version()}

    def __setstate__(self, state):
        state = dict(state)
        written_by = state.pop("_skl_sae_version", "an unknown version")
        if written_by != version():
            _warn_of_version(written_by)
        super().__setstate__(state)
        if getattr(self, "_tied", False):
            self.encoder_ = self.components_  # one array, which joblib stores twice

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _warn_of_dead_atoms(frequency, many):
    n_dead, n_atoms = int((frequency == 0).sum()), len(frequency)
    if n_dead > many * n_atoms:
        warnings.warn(
            f"{n_dead} of {n_atoms} atoms ({n_dead / n_atoms:.0%}) are dead: they did not fire in "
            "the last epoch. Fewer atoms (n_components), a larger k, more rows or more epochs "
            "(max_iter) would leave fewer.",
            ConvergenceWarning, stacklevel=5,
        )  # fmt: skip


@one_thread()
def _product(X, atoms):
    """NumPy's own product may add up differently with another number of threads."""
    arrays = (a if a.flags.writeable else a.copy() for a in (X, atoms))
    return product(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)).numpy()


def _warn_of_version(written_by):
    warnings.warn(
        f"The model was written by skl_sae {written_by} and is read by {version()}.",
        UserWarning, stacklevel=3,
    )  # fmt: skip
