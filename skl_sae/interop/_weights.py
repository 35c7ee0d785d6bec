"""Weights: what all libraries mean, and how it becomes a fitted estimator or comes of one."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._engine._parameters import Parameters
from .._model_file._model import FittedState, unknown_frequency
from .._model_file._safetensors import finite_floats, trouble_with
from .._training._scaling import Scaling
from ..autoencoders._topk import TopKSparseAutoencoder

# Atoms whose norms differ by less from 1, by the rounding of float32 or of bfloat16, are left as
# they are, and so are codes, to the bit. The second is half of what files of ours allow.
_ROUNDING, _COARSE_ROUNDING = 1e-6, 0.005
# Parameters that a file has no place for, with the value that it can hold.
_HELD = {
    "transform_algorithm": ("topk", "other libraries code by the encoder alone"),
    "refit": (False, "other libraries take the encoder's own values"),
    "normalize": (False, "other libraries do not normalise samples so"),
}
_OTHER_MODELS = {
    "ConvTopKSparseAutoencoder": "its small atoms at many places are no matrix of atoms. "
    "skl_sae.save keeps it, and transform writes its codes",
    "DeepTopKSparseAutoencoder": "its encoder has several layers. skl_sae.save keeps it, and "
    "transform writes its codes",
    "BaggingSparseAutoencoder": "a file holds one model; export each of estimators_",
    "BoostingSparseAutoencoder": "a file holds one model; export each of estimators_",
}


@dataclass
class Weights:
    """One sparse autoencoder as other libraries have it: f = act(W (x - b) + c), x' = D' f + b.

    All arrays are float32. Activations are the k largest of a row, none negative; or, where there
    are thresholds, those above them (not those that equal them), and none negative.
    """

    encoder: np.ndarray  # W, (H, D)
    bias: np.ndarray  # c, (H,)
    decoder: np.ndarray  # D, (H, D)
    center: np.ndarray  # b, (D,)
    k: int | None  # None if not known, or if all positive activations count
    thresholds: np.ndarray | None = None  # (H,)

    @property
    def shape(self):
        return self.decoder.shape

    @property
    def of_x(self):
        """Bias of an encoder that takes x itself: c - W b."""
        return _sum(self.bias, -_product(self.encoder, self.center))

    def taking_x(self):
        """These weights, read from a file whose encoder takes x itself and not x - b."""
        return replace(self, bias=_sum(self.bias, _product(self.encoder, self.center)))

    @property
    def is_relu(self):
        """Whether all positive activations count."""
        if self.thresholds is None:
            return self.k == len(self.bias)
        return not (self.thresholds > 0).any()


def _product(matrix, vector):
    """W b in float64: what is added cancels, often."""
    return np.einsum("hd,d->h", matrix, vector, dtype=np.float64)


def _sum(a, b):
    return finite_floats("bias", a + b)


# --- To other libraries ---


def weights_of(estimator, member, folder):
    """Weights of a member of a fitted estimator, to be written to a folder.

    A `ModelFileError` of the folder says why no file of another library can hold them.
    """
    with trouble_with(folder):
        _check_kind(estimator)
    check_is_fitted(estimator)
    with trouble_with(folder):
        _check_codes(estimator)
    n_members = len(estimator.centers_)
    if not isinstance(member, Integral) or isinstance(member, bool):
        raise ValueError(f"Expected member as a whole number, got {member!r}.")
    if not 0 <= member < n_members:
        raise ValueError(f"Expected a member from 0 to {n_members - 1}, got {member}.")
    p = estimator._parameters()
    thresholds = None
    if p.thresholds is not None:
        # Ours count from the threshold on, theirs above it.
        below = np.nextafter(p.thresholds[member], np.float32(-1))
        thresholds = np.broadcast_to(np.maximum(below, 0), p.shape[1])
    return Weights(
        p.weights[member], p.bias[member], p.decoder[member], p.centers[member],
        int(estimator.k_), thresholds,
    )  # fmt: skip


def _check_kind(estimator):
    name = type(estimator).__name__
    if not isinstance(estimator, TopKSparseAutoencoder):
        reason = _OTHER_MODELS.get(name, "no other is known here")
        raise ValueError(f"Expected a TopKSparseAutoencoder, got a {name}: {reason}.")


def _check_codes(estimator):
    """Refuse parameters by which codes are other than those of the encoder."""
    parameters = estimator.get_params(deep=False)
    for parameter, (held, reason) in _HELD.items():
        if parameters.get(parameter, held) != held:
            raise ValueError(
                f"Expected {parameter}={held!r}, got {parameters[parameter]!r}: {reason}."
            )
    if estimator.aggregate == "mean" and len(estimator.centers_) > 1:
        raise ValueError(
            "Expected aggregate='concat', got 'mean': a file holds one member, whose codes are no "
            "mean of several. set_params(aggregate='concat') exports one."
        )


# --- From other libraries ---


def estimator_of(weights, *, scaled=False):
    """Fitted estimator of weights; a ValueError that says why they cannot be held.

    Parameters
    ----------
    weights : Weights
        As they were read.
    scaled : bool, default=False
        Whether the k largest are those of activations times the norms of the atoms.
    """
    w = _with_unit_atoms(weights, scaled)
    n_atoms = len(w.bias)
    thresholds = None if w.is_relu else _our_thresholds(w.thresholds)
    k = n_atoms if w.is_relu or w.k is None else w.k
    tied = np.array_equal(w.encoder, w.decoder)
    parameters = Parameters(
        w.decoder[None], None if tied else w.encoder[None], w.bias[None], w.center[None], thresholds
    )
    estimator = TopKSparseAutoencoder(
        n_atoms, k=k, tied=tied, sparsity="topk" if thresholds is None else "batch_topk"
    )
    estimator._set_state(FittedState(
        parameters, Scaling(w.center, 1), k, n_iter=0,
        curves={"loss_curve_": [], "correlation_curve_": [], "validation_scores_": None},
        best_validation_score=None, frequency=unknown_frequency(parameters.shape),
        feature_names=None, model=None,
    ))  # fmt: skip
    return estimator


def _with_unit_atoms(w, scaled):
    """Weights with atoms of norm 1, whose activations are multiplied by what it was."""
    norms = np.sqrt(np.einsum("hd,hd->h", w.decoder, w.decoder, dtype=np.float64))
    live = norms > 0  # an atom of zeros stays
    if w.thresholds is None and not w.is_relu and not scaled:
        factors = np.full(len(norms), norms[live].mean() if live.any() else 1.0)
        spread = abs(norms[live] / factors[live] - 1)
        if (spread > _COARSE_ROUNDING).any():
            raise ValueError(
                "Expected atoms of equal norm, which this top-k does not weigh activations by, "
                f"got norms from {norms[live].min():.4g} to {norms[live].max():.4g}: with unit "
                "atoms, others would be picked."
            )
    else:
        factors = np.where(live, norms, 1.0)
    # Where norms decide what is picked, no difference is too small.
    factors[abs(factors - 1) <= (_ROUNDING if scaled else _COARSE_ROUNDING)] = 1
    if (factors == 1).all():
        return w
    rows, thresholds = factors[:, None], w.thresholds
    if thresholds is not None:
        thresholds = finite_floats("threshold", thresholds * factors)
    return replace(
        w,
        encoder=finite_floats("encoder", w.encoder * rows),
        bias=finite_floats("bias", w.bias * factors),
        decoder=finite_floats("decoder", w.decoder / rows),
        thresholds=thresholds,
    )


def _our_thresholds(thresholds):
    """Thresholds that activations reach where they exceed these; one if all are equal."""
    if thresholds is None:
        return None
    with np.errstate(over="ignore"):
        above = np.nextafter(thresholds, np.float32(np.inf))
    ours = finite_floats("threshold", np.where(thresholds > 0, above, np.float32(0)))[None]
    return ours[:, 0].copy() if (ours == ours[0, 0]).all() else ours
