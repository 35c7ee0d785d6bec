"""TopKSparseAutoencoder: sparse codes of samples by linear Top-K sparse autoencoders."""

import dataclasses
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted

from .._engine._parameters import n_always_active
from .._training._architecture import FlatArchitecture
from .._training._loop import Size, check_memory
from ..images._typing import AnyPath, RandomState
from ._sizes import checked_prefixes, number_active, number_of_atoms
from ._trained import TrainedSparseAutoencoder


class TopKSparseAutoencoder(TrainedSparseAutoencoder):
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

    by Adam, where :math:`\lambda` is ``consistency`` and :math:`\alpha` is ``aux_coef``. AuxK [2]_
    is the error that is left when the dead atoms, which have not been active for a whole epoch,
    reconstruct the residual of the others. During fit the data are divided by one number, so that
    the mean variance of a feature is 1; fitted attributes are in the units of the data.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms per member (the hidden size). None is 4 per feature, but at most 2 per
        sample passed to fit, and at most 1,024.
    k : int, float or None, default=None
        Maximum number of active atoms per sample and member (but see ``sparsity``). A float in
        (0, 1) is a fraction of n_components. None is 5 % of n_components, but at most half the
        number of features. The result is at least 1.
    sparsity : {"topk", "batch_topk"}, default="topk"
        How the sparsity budget is allocated. "topk": every sample has k active atoms.
        "batch_topk": in training, the k * batch_size largest activations of a batch are kept,
        so that complex samples get more than simple ones, and k on average [5]_. After training,
        a threshold decides, so the code of a sample does not depend on others. It is such that
        new samples have k on average, as held-out samples tell (see Notes); samples unlike the
        training data may get more, and those learned have somewhat fewer.
    n_estimators : int, default=1
        Number of members, trained side by side on the same batches.
    prefixes : array-like of int or None, default=None
        Numbers of first atoms of each member that are to be models of their own, in rising order,
        such as (32, 128, 512); :meth:`prefix` returns each as an estimator. All n_components atoms
        are a model in any case, whether or not they are named; n_components=None is the last of
        these numbers. The first term of the loss is the mean over all of these models (Matryoshka
        autoencoders [7]_), each with its own top-k of at most k among its own atoms. Of a
        model's gradient 0.7 counts at the atoms of smaller ones. Loss and held-out scores of fit
        are means over them. Of "omp" no atoms are adapted then, and sparsity="batch_topk" is
        refused.
    tied : bool or "auto", default="auto"
        Whether the encoder is the transposed decoder. This halves memory use and reduces
        overfitting. "auto" ties them unless sparsity="batch_topk", whose threshold compares
        activations of different samples and so asks more of the encoder; a fit that continues
        an earlier one leaves them as they are.
    init : {"pca", "orthogonal", "random"} or array-like, default="pca"
        Initial atoms. "pca": plus and minus the principal directions of the data (for several
        members, of four fifths of it each), rotated within their span to make the codes sparse
        [3]_; further atoms are random directions with a bias that lets them activate rarely. If it
        lowers the error on held-out samples, principal directions are computed within 8 to 32
        clusters of correlated features (for images, patches) [6]_. Held-out samples (see
        Notes) also determine how often the random atoms may activate, and whether plain
        principal directions are better; these leave no larger error on any sample than PCA with
        k components. "orthogonal": random, orthogonal where possible. "random": random. An array
        has shape (n_components, n_features) for one member, and (n_estimators, n_components,
        n_features) for several; its rows are scaled to unit norm.
    consistency : float, default=0.0
        Weight of the mean squared difference between the codes of two members.
    aggregate : {"concat", "mean"}, default="concat"
        Codes that transform returns for several members: side by side (n_estimators *
        n_components columns), or their mean (n_components columns). The mean is only meaningful
        if the atoms of the members correspond, as a ``consistency`` of about 1 makes them, at the
        price of a larger error than that of codes side by side.
    transform_algorithm : {"topk", "omp"}, default="topk"
        Algorithm that computes the codes of fitted atoms. "topk": the encoder, in one pass.
        "omp": orthogonal matching pursuit [4]_, which is slower and has a lower error for the same
        number of active atoms; its codes have either sign, and k non-zeros per sample for any
        ``sparsity``, or fewer with a ``transform_tol``. With "omp", fit ends with rounds that
        adapt the atoms to it, 8 per sample and feature (n_samples / n_features) and at most 80,
        after which they suit the encoder's own codes less well.
    transform_tol : float or None, default=None
        Part of a sample's variance, its squared distance from the member's centre, at which "omp"
        stops: when the squared residual is at most this part, so that each sample has as many
        active atoms as it needs, up to k. None is k active atoms for every sample. The atoms are
        learned with k; set it before or after fit. A float with another transform_algorithm is an
        error.
    refit : bool, default=False
        Whether codes get new values by least squares over the atoms that the encoder chose, none
        negative: no sample is reconstructed worse, in little more time. Training does not change.
        Codes of "omp" have such values, of either sign, in any case.
    learning_rate : float or "auto", default="auto"
        Largest learning rate of Adam. In fit it is reached linearly over the first tenth of the
        steps and then decays linearly to 0; in partial_fit it is constant. "auto" is
        15 / n_features ** 1.5, at most 0.01; with prefixes fit takes up to 8 times that, at most
        0.02, and fewer times where n_samples is below n_features.
    batch_size : int, default=32
        Number of samples per mini-batch.
    max_iter : int, default=30
        Number of epochs.
    aux_coef : float, default=0.25
        Weight of AuxK, the loss of the dead atoms.
    augmenter : transformer or None, default=None
        Transformer whose fit_transform is applied to the training samples in every epoch of fit,
        such as :class:`~skl_sae.ImageAugmenter`; it may return more samples than it is given. It
        is cloned, and its random_state is set anew in each epoch. Samples held out by early
        stopping and those of partial_fit and transform are not augmented. The first draw
        determines the scale and the initial atoms.
    early_stopping : bool, default=False
        Whether to hold out rows and to stop when their correlation no longer improves. The
        best weights are kept.
    validation_fraction : float, default=0.1
        Fraction of the rows that early stopping holds out; to the nearest group, if fit is told
        groups.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which early stopping stops.
    tol : float, default=1e-4
        Smallest gain in correlation that counts as an improvement.
    checkpoint : str, path-like or None, default=None
        A file to which fit writes its whole state now and then, so that an
        interrupted fit can be resumed: with ``warm_start=True``, fit goes on from the file if
        there is one, to the result that it would have had without interruption. It must be
        given the same rows and parameters. A file serves one fit: those of a search would
        overwrite each other's. :meth:`save` leaves it out.
    checkpoint_interval : int or float, default=1
        Number of epochs from one checkpoint to the next; below 1 a share of an epoch. Each
        writes the weights and Adam's moments: twelve bytes a weight.
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
        Whether to print progress once per epoch, and per call of partial_fit.

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
        Number of epochs run; under partial_fit, of calls. 0 in models that
        :mod:`skl_sae.interop` read.
    activation_thresholds_ : ndarray of shape (n_estimators,), float32, or None
        The members' smallest activation that counts, in the units of the data, where
        sparsity="batch_topk". Models read by :mod:`skl_sae.interop` may have one for each atom,
        shape (n_estimators, n_components), until they are trained further.
    n_components_ : int
        Resolved number of atoms of a member.
    k_ : int
        Resolved number of active atoms.
    atom_frequency_ : ndarray of shape (n_estimators * n_components,), float32
        Fraction of the last epoch's rows on which an atom fired (under partial_fit, of the
        last call's). 0 is a dead atom, NaN an atom that :mod:`skl_sae.interop` read.
    n_features_in_ : int
        Number of features seen in fit, H * W * C of images.
    image_shape_ : tuple (H, W) or (H, W, C), or None
        Shape of the images seen in fit, or that its augmenter was given; None where these were
        rows and nothing tells it. Displays and reports take it from here.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    sklearn.decomposition.PCA : Dense codes by the best linear projection.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes by solving for them.

    Notes
    -----
    From 50 samples on, fit holds some out for two thirds of its epochs: a twentieth, or a tenth
    if there are few, and at most 1,024. They select the initial atoms, and training continues from
    the epoch with the lowest error on them if the last one is worse. Then they are returned to the
    training data for the last third of the epochs. While no epoch has a lower error on them than
    the initial atoms, they stay held out, for up to nine tenths of the epochs; if none has one by
    then, the result is the initial atoms, computed from all samples. With early_stopping, its
    held-out samples take this role.

    They also tell the threshold of sparsity="batch_topk". If they are returned, a copy of the model
    is trained on without them to the end, which takes up to 40 % more time: from the same state and
    by the same epochs, so that it tells how much larger activations of samples that were not
    learned are. How complex they are compared with all samples is allowed for, and that the result,
    which learns more samples, suits them a little less. If the result is the initial atoms, each
    fifth of the samples is left out of such atoms in turn. With fewer than 50 samples, and in
    partial_fit, the threshold is that of the samples learned.

    The same seed gives the same result, to the bit, on one machine, for any number of threads.

    If a few samples hold most of the variance, as in heavy-tailed data, they determine the atoms.
    Limit them first, by :class:`~sklearn.preprocessing.RobustScaler` followed by clipping, or by
    :class:`~sklearn.preprocessing.QuantileTransformer`.

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
    .. [7] B. Bussmann, N. Nabeshima, A. Karvonen and N. Nanda, "Learning multi-level features with
       Matryoshka sparse autoencoders", ICML 2025, arXiv:2503.17547.

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
        **TrainedSparseAutoencoder._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "sparsity": [StrOptions({"topk", "batch_topk"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "prefixes": ["array-like", None],
        "tied": ["boolean", StrOptions({"auto"})],
        "consistency": [Interval(Real, 0, np.inf, closed="left")],
        "aggregate": [StrOptions({"concat", "mean"})],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        k: int | float | None = None,
        sparsity: Literal["topk", "batch_topk"] = "topk",
        n_estimators: int = 1,
        prefixes: Sequence[int] | None = None,
        tied: bool | Literal["auto"] = "auto",
        init: Literal["pca", "orthogonal", "random"] | ArrayLike = "pca",
        consistency: float = 0.0,
        aggregate: Literal["concat", "mean"] = "concat",
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
        self.k = k
        self.sparsity = sparsity
        self.n_estimators = n_estimators
        self.prefixes = prefixes
        self.tied = tied
        self.init = init
        self.consistency = consistency
        self.aggregate = aggregate
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

    # --- Prefixes ---

    def prefix(self, n_components: int) -> "TopKSparseAutoencoder":
        """Estimator of the first atoms of each member alone.

        Parameters
        ----------
        n_components : int
            Number of atoms per member: one of ``prefixes``, or that of all.

        Returns
        -------
        estimator : TopKSparseAutoencoder
            A fitted estimator with copies of these atoms, and with the same parameters but for
            ``n_components``, ``k`` and ``prefixes``. Its curves are those of this fit, and its
            ``atom_frequency_`` is that in the codes of all atoms. Of n < 2 k atoms the first 2 k -
            n are active in each sample, by biases and a centre that are moved to that end.

        Raises
        ------
        ValueError
            If no model of so many atoms was trained.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skl_sae import TopKSparseAutoencoder
        >>> X = load_digits().data
        >>> sae = TopKSparseAutoencoder(128, k=8, prefixes=(32, 64), random_state=0).fit(X)
        >>> sae.prefix(32).transform(X).shape
        (1797, 32)
        """
        check_is_fitted(self)
        sizes = *self._prefixes_of(self.n_components_), self.n_components_
        if n_components not in sizes:
            raise ValueError(
                f"Expected the size of a prefix, one of {sizes}, got {n_components!r}."
            )
        n_components, init, state = int(n_components), self.init, self._get_state()
        # Pursuit has activations of either sign, and no use for atoms that are always active.
        is_shifted = (
            self.transform_algorithm != "omp" and n_components < sizes[-1]
            and n_always_active(n_components, self.k_) > 0
        )  # fmt: skip
        if is_shifted:
            parameters = state.parameters.prefix(n_components, self.k_, state.scaling.scale)
        else:
            parameters = state.parameters.first(n_components)
        if not isinstance(init, str):
            init = np.asarray(init)[..., :n_components, :]
        estimator = clone(self).set_params(
            n_components=n_components, k=min(self.k_, n_components),
            # A centre that is moved for all these atoms is that of no fewer.
            prefixes=None if is_shifted else sizes[: sizes.index(n_components)] or None,
            init=init,
        )  # fmt: skip
        estimator._set_state(dataclasses.replace(
            state,
            parameters=parameters,
            k=estimator.k,
            frequency=state.frequency.reshape(len(self.centers_), -1)[:, :n_components].ravel(),
            model=None,
        ))  # fmt: skip
        return estimator

    # --- Parameters ---

    def _check_size(self, X, n_samples, start):
        """Check constraints between parameters; return the model's size, and whether it is tied."""
        self._check_numbers()
        n_features = X.shape[1]
        n_atoms = number_of_atoms(
            self.n_components, (n_samples, n_features), start, checked_prefixes(self.prefixes)
        )
        shape = self.n_estimators, n_atoms, n_features
        k, prefixes = number_active(self.k, *shape[1:]), self._prefixes_of(n_atoms)
        if start is not None and start.shape != shape:
            raise ValueError(
                "Expected the fitted shape (n_estimators, n_components, n_features) = "
                f"{start.shape} to go on from, got {shape}."
            )
        tied = self._ties(start)
        if start is not None and tied != start.tied:
            raise ValueError(f"Expected tied={not tied} as fitted, got tied={tied}.")
        check_memory(shape, tied)
        return Size(shape, k, prefixes), tied

    def _prefixes_of(self, n_components):
        prefixes = checked_prefixes(self.prefixes)
        if prefixes and prefixes[-1] > n_components:
            raise ValueError(
                f"Expected prefixes <= n_components, got {prefixes[-1]} > {n_components}."
            )
        prefixes = tuple(size for size in prefixes if size < n_components)
        if prefixes and self.sparsity != "topk":
            raise ValueError(
                "Expected sparsity='topk' with prefixes, since the threshold of 'batch_topk' would "
                f"have to be another for each; got sparsity={self.sparsity!r}."
            )
        return prefixes

    def _architecture(self, X=None, rows=None, rng=None, start=None):
        # Ranks do not share the atoms, or members, of which all prefixes have some.
        return FlatArchitecture(spreads=self.prefixes is None)

    def _ties(self, start=None):
        """Whether a fit that starts from these arrays has tied weights."""
        if self.tied != "auto":
            return bool(self.tied)
        return self.sparsity == "topk" if start is None else start.tied
