"""A fit under way: its engine on data in their own units, its progress, its rows and device."""

import os
from itertools import repeat

import numpy as np
import torch
from sklearn.base import clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_array, check_random_state, gen_batches

from ._ensemble import TopKEnsemble
from ._pursuit import finish_atoms
from ._scoring import row_correlations
from ._threads import one_thread

# Share of a fit's steps in which the learning rate rises.
WARM_UP = 0.1


class TrainingState:
    """An engine at work, and how its scaled units relate to those of the data."""

    def __init__(self, offset, scale):
        self.offset, self.scale = offset, scale
        self.engine = None
        self.n_rows = 0  # that it comes from
        self.n_planned_steps = None  # of a fit; without, the learning rate is constant

    @classmethod
    def from_data(cls, X):
        """Units in which the mean of the data is 0 and the mean variance of a feature 1."""
        offset = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        square = 0.0
        for rows in gen_batches(len(X), 256):
            square += np.square(X[rows] - offset, dtype=np.float64).sum()
        scale = np.sqrt(square / X.size)
        if scale <= 1e-6 * np.abs(offset).max():  # rounding of constant features
            scale = float(np.abs(offset).max())
        state = cls(offset, np.float32(scale if scale > 0 else 1))
        state.n_rows = len(X)
        return state

    def scale_rows(self, X):
        rows = X - self.offset
        rows /= self.scale
        return rows

    def scale_arrays(self, arrays):
        """Copies of fitted arrays in scaled units."""
        decoder, encoder, bias, centers, thresholds = arrays
        return (
            decoder.copy(),
            None if encoder is None else encoder.copy(),
            bias / self.scale,
            self.scale_rows(centers),
            None if thresholds is None else thresholds / self.scale,
        )

    def copied_arrays(self):
        """Copies of the engine's arrays, which are trained in place."""
        return [None if array is None else array.copy() for array in self.engine.arrays()]

    def restore(self, arrays):
        """Go on from other weights, with an optimizer that starts anew."""
        self.engine = TopKEnsemble(*arrays, k=self.engine.k, device=self.engine.device)

    def suits(self, k, sparsity):
        """Whether the engine, with its moments, can go on under these parameters."""
        return self.engine.k == k and (self.engine.thresholds is None) == (sparsity == "topk")

    @one_thread()
    def finish_atoms(self, X, n_rounds):
        """Adapt the atoms to orthogonal matching pursuit on the rows of X."""
        self.engine.catch_up()
        rows = torch.from_numpy(self.scale_rows(X)).to(self.engine.device)
        for center, atoms in zip(self.engine.centers, self.engine.decoder, strict=True):
            finish_atoms(rows - center, atoms, self.engine.k, n_rounds)

    @one_thread()
    def run_epoch(
        self, X, rng, batch_size, learning_rate, *, consistency=0.0, aux_coef=0.0, dead_after
    ):
        """One pass over the rows: mean loss, mean correlation, how often each atom fired.

        What is given by name is for `TopKEnsemble.train_step`.
        """
        settings = {"consistency": consistency, "aux_coef": aux_coef, "dead_after": dead_after}
        engine = self.engine
        engine.fired_rows.zero_()
        order = rng.permutation(len(X))
        loss = torch.zeros((), dtype=torch.float64)
        correlation, n_varying = 0.0, 0
        for batch in gen_batches(len(X), batch_size):
            rows = torch.from_numpy(self.scale_rows(X[order[batch]])).to(engine.device)
            rate = learning_rate * self.rate_factor()
            batch_loss, reconstruction = engine.train_step(rows, rate, **settings)
            loss += batch_loss.cpu() * len(rows)
            batch_correlations = self.correlations(rows, reconstruction)
            correlation += float(batch_correlations.sum())
            n_varying += len(batch_correlations)
        if aux_coef:
            engine.revive(dead_after)
        frequency = (engine.fired_rows.cpu().numpy() / len(X)).ravel()
        return float(loss) / len(X), correlation / max(1, n_varying), frequency

    def rate_factor(self):
        """Part of the learning rate that is due: it rises, then falls to 0 at the last step."""
        if self.n_planned_steps is None:
            return 1.0
        done = self.engine.n_steps / self.n_planned_steps
        return min(1.0, (done + 1 / self.n_planned_steps) / WARM_UP) * max(0.0, 1 - done)

    def correlations(self, rows, reconstruction):
        """Correlation of each row that varies, in the units of the data; one pass, float32."""
        offset = (self.offset - self.offset.mean(dtype=np.float64)) / self.scale
        both = torch.stack([rows, reconstruction])
        both += torch.from_numpy(offset).to(rows)
        both -= both.mean(2, keepdim=True)
        length, length_guess = torch.linalg.vector_norm(both, dim=2)
        correlations = torch.linalg.vecdot(*both) / (length * length_guess)
        return correlations[length > 1e-6].nan_to_num().cpu()

    @one_thread()
    def score(self, X, batch_size):
        """Mean correlation of rows with their reconstruction; a constant row counts as 0."""
        total = 0.0
        for batch in gen_batches(len(X), batch_size):
            rows = torch.from_numpy(self.scale_rows(X[batch])).to(self.engine.device)
            guess = self.engine.reconstruct(rows).cpu().numpy() * self.scale + self.offset
            total += np.nan_to_num(row_correlations(X[batch], guess), nan=0.0).sum()
        return float(total / len(X))


class Progress:
    """What the epochs of a fit have brought so far.

    With rows held out, ``best_arrays`` are the engine's arrays (`BEST`) and the frequency
    of the epoch that had the best score.
    """

    BEST = "decoder", "encoder", "bias", "centers", "thresholds", "frequency"

    def __init__(self):
        self.losses, self.correlations, self.scores = [], [], []
        self.frequency = None
        self.best, self.best_arrays = None, {}

    @property
    def n_epochs(self):
        return len(self.losses)

    def add(self, loss, correlation, frequency):
        self.losses.append(loss)
        self.correlations.append(correlation)
        self.frequency = frequency

    def add_score(self, score, state):
        """Note the score of the rows held out, and keep the weights if it is the best."""
        self.scores.append(score)
        if self.best is None or score > self.best:
            arrays = *state.copied_arrays(), self.frequency
            self.best = score
            self.best_arrays = {
                name: array for name, array in zip(self.BEST, arrays, strict=True)
                if array is not None
            }  # fmt: skip

    def has_stalled(self, patience, tol):
        """Whether the last score is no better than those before the last so many."""
        reference = max(self.scores[:-patience], default=-np.inf)
        return bool(self.scores) and self.scores[-1] <= reference + tol

    def as_json(self):
        """All but the arrays."""
        return {"losses": self.losses, "correlations": self.correlations,
                "scores": self.scores, "best": self.best}  # fmt: skip

    def restore(self, numbers, best_arrays, frequency):
        """Be as another was that gave these numbers as JSON."""
        vars(self).update(numbers)
        self.best_arrays, self.frequency = best_arrays, frequency

    def settle(self, state):
        """The fitted attributes that come of it; the state goes back to the best weights."""
        if self.best_arrays:
            *arrays, self.frequency = (self.best_arrays.get(name) for name in self.BEST)
            state.restore(arrays)
        held_out = self.best is not None
        return {
            "loss_curve_": self.losses,
            "correlation_curve_": self.correlations,
            "n_iter_": self.n_epochs,
            "validation_scores_": self.scores if held_out else None,
            "best_validation_score_": self.best if held_out else None,
            "feature_frequency_": self.frequency,
        }


def resolve_device(device):
    """The torch device that a parameter names; a ValueError that names it if there is none."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            f"Expected device 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}."
        )
    n_devices = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[resolved.type]
    if (resolved.index or 0) >= n_devices:
        raise ValueError(
            f"The device {str(device)!r} is not available on this machine. "
            'Use device="cpu" or device="auto".'
        )
    return resolved


def check_memory(shape, tied):
    """Refuse sizes whose weights and Adam's moments exceed the machine's memory."""
    n_bytes = 4 * int(np.prod(shape, dtype=object)) * (3 if tied else 6)
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system; NumPy will say
        return
    if n_bytes > available:
        raise MemoryError(
            f"Training {shape[0]} member(s) of {shape[1]} atoms over {shape[2]} features needs "
            f"{n_bytes} bytes for the weights and Adam's moments; this machine has {available}."
        )


# --- Rows ---


def own_generator(random_state):
    """What all that is random comes from; of NumPy's global generator one number is drawn."""
    if random_state is None or random_state is np.random:
        return np.random.RandomState(check_random_state(None).randint(2**31 - 1))
    return check_random_state(random_state)


def hold_out(X, fraction, rng):
    """Rows to train on, and a fraction of the rows to stop by."""
    n_valid = max(1, int(fraction * len(X)))
    if n_valid >= len(X):
        raise ValueError(f"Expected at least 2 samples for early stopping, got n_samples={len(X)}.")
    order = rng.permutation(len(X))
    return X[np.sort(order[n_valid:])], X[np.sort(order[:n_valid])]


def rows_by_epoch(X, augmenter, rng):
    """The rows of each epoch, for ever: X itself, or what the augmenter makes of it."""
    if augmenter is None:
        yield from repeat(X)
    augmenter = clone(augmenter)
    while True:
        yield _augmented(augmenter, X, rng)


def _augmented(augmenter, X, rng):
    _set_random_states(augmenter, rng)
    rows = check_array(augmenter.fit_transform(X), dtype=np.float32, order="C")
    if rows.shape[1] != X.shape[1]:
        raise ValueError(
            f"Expected the augmenter to keep {X.shape[1]} features, got {rows.shape[1]}."
        )
    return rows
