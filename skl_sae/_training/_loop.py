"""A fit under way: its engine on data in their own units, its progress, its rows and device."""

import contextlib
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_array, check_random_state, gen_batches

from .._engine._memory import check_fits
from .._engine._model import TopKEnsemble
from .._engine._pursuit import finish_atoms
from .._engine._threads import one_thread
from ..metrics import row_correlations

# Share of a fit's steps in which the learning rate rises.
WARM_UP = 0.1
# Spread of a feature, relative to its offset, that float32 numbers have by rounding alone.
ROUNDING = 2 * np.finfo(np.float32).eps
# Rows coded at a time.
CODED_ROWS = 256
# About how many rows thresholds are fitted to.
THRESHOLD_ROWS = 1024
# Rows that judge a fit: at least, so that there are enough, and at most.
MIN_JUDGES, ENOUGH_JUDGES, MAX_JUDGES = 5, 16, 2**10
# An epoch has got worse than another if it leaves so much more of the judges.
LEAST_LOSS = 0.02


class Size(NamedTuple):
    """How large the model of a fit is."""

    shape: tuple  # members, atoms, features
    k: int


class TrainingState:
    """An engine at work, and how its scaled units relate to those of the data.

    ``offset``, of shape (D,), and ``scale`` are in float64: data may lie far from 0.
    """

    def __init__(self, offset, scale):
        self.offset, self.scale = np.asarray(offset, np.float64), float(scale)
        # X - offset by float32 arithmetic: the first part is exact where X is near the offset.
        self._coarse = self.offset.astype(np.float32)
        self._fine = (self.offset - self._coarse).astype(np.float32)
        self.engine = None
        self.n_rows = 0  # that it comes from
        self.n_planned_steps = None  # of a fit; without, the learning rate is constant
        self.n_steps_before = 0  # of engines that this one replaced
        self.watch = None  # called with the numbers of steps done and planned, after each

    @classmethod
    def from_data(cls, X):
        """Units in which the mean of the data is 0 and the mean variance of a feature 1.

        Variation that is no more than the rounding of a feature's own offset counts only where
        no feature has any other: a constant feature does not hide the variation of the rest.
        """
        offset = X.mean(axis=0, dtype=np.float64)
        variance = np.zeros(X.shape[1])
        for rows in gen_batches(len(X), 256):
            variance += np.square(X[rows] - offset).sum(axis=0)
        variance /= len(X)
        is_rounding = np.sqrt(variance) <= ROUNDING * np.abs(offset)
        if is_rounding.all():
            scale = np.abs(offset).max()
        else:
            scale = np.sqrt(np.where(is_rounding, 0, variance).mean())
        state = cls(offset, max(scale, np.finfo(np.float32).tiny) if scale > 0 else 1)
        state.n_rows = len(X)
        return state

    @property
    def size(self):
        return Size(tuple(self.engine.decoder.shape), self.engine.k)

    def scale_rows(self, X):
        rows = X - self._coarse
        rows -= self._fine
        rows /= np.float32(self.scale)
        return rows

    def scale_arrays(self, arrays):
        """Copies of fitted arrays in scaled units."""
        decoder, encoder, bias, centers, thresholds = arrays
        return (
            decoder.copy(),
            None if encoder is None else encoder.copy(),
            (bias / self.scale).astype(np.float32),
            self.scale_rows(centers),
            None if thresholds is None else (thresholds / self.scale).astype(np.float32),
        )

    def copied_arrays(self):
        """Copies of the engine's arrays, which are trained in place."""
        return [None if array is None else array.copy() for array in self.engine.arrays()]

    def restore(self, arrays):
        """Go on from other weights, with an optimizer that starts anew."""
        self.n_steps_before += self.engine.n_steps
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
            if self.watch is not None:
                self.watch(self.n_steps_before + engine.n_steps, self.n_planned_steps)
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
        done = (self.n_steps_before + self.engine.n_steps) / self.n_planned_steps
        return min(1.0, (done + 1 / self.n_planned_steps) / WARM_UP) * max(0.0, 1 - done)

    def correlations(self, rows, reconstruction):
        """Correlation of each row that varies, in the units of the data; one pass, float32."""
        offset = (self.offset - self.offset.mean()) / self.scale
        both = torch.stack([rows, reconstruction])
        both += torch.from_numpy(offset).to(rows)
        both -= both.mean(2, keepdim=True)
        length, length_guess = torch.linalg.vector_norm(both, dim=2)
        correlations = torch.linalg.vecdot(*both) / (length * length_guess)
        return correlations[length > 1e-6].nan_to_num().cpu()

    @one_thread()
    def firing_frequency(self, X):
        """The fraction of the rows on which each atom fires."""
        fired = torch.zeros_like(self.engine.encoder_bias)
        for batch in gen_batches(len(X), CODED_ROWS):
            rows = torch.from_numpy(self.scale_rows(X[batch])).to(self.engine.device)
            activations, atoms = self.engine.encode(rows)
            fired.scatter_add_(1, atoms.flatten(1), (activations > 0).flatten(1).to(fired))
        return (fired.cpu().numpy() / np.float32(len(X))).ravel()

    @one_thread()
    def error(self, X, consistency):
        """What training minimises, of the mean reconstruction and in scaled units.

        Thresholds are for the while such that the rows have k active atoms on average, as many
        as in training.
        """
        total = 0.0
        with self._thresholds_fitted_to(X):
            for batch in gen_batches(len(X), CODED_ROWS):
                rows = torch.from_numpy(self.scale_rows(X[batch])).to(self.engine.device)
                total += self.engine.error(rows, consistency) * len(rows)
        return total / len(X)

    @contextlib.contextmanager
    def _thresholds_fitted_to(self, X):
        """Give the thresholds as they were, None for top-k; they are fitted to X for the while."""
        thresholds = self.engine.thresholds
        if thresholds is None:
            yield None
            return
        kept = thresholds.clone()
        self.fit_thresholds(X)
        yield kept
        thresholds.copy_(kept)

    @one_thread()
    def fit_thresholds(self, X):
        """Thresholds that k of a row's activations reach, on average over some of the rows."""
        some = X[:: 1 + len(X) // THRESHOLD_ROWS]
        rows = torch.from_numpy(self.scale_rows(some)).to(self.engine.device)
        self.engine.fit_thresholds(rows)

    def threshold_factors(self, X):
        """How much lower the thresholds must be for rows held out to get as many atoms."""
        with self._thresholds_fitted_to(X) as kept:
            return (self.engine.thresholds / kept).clamp(max=1).tolist()

    def scale_thresholds(self, factors):
        self.engine.thresholds *= torch.tensor(factors).to(self.engine.thresholds)

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
    of the epoch that served them best, or of the start, whose frequency is 0.
    """

    BEST = "decoder", "encoder", "bias", "centers", "thresholds", "frequency"
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
        self.keep_best(score, state)

    def add_error(self, error, state):
        """Note the error of the judges, and keep the weights if it is the least."""
        self.is_judging = True
        self.errors.append(error)
        self.keep_best(-error, state)

    def keep_best(self, merit, state):
        if self.best is None or merit > self.best:
            self.best = merit
            self.keep(state)

    def keep(self, state):
        """Keep the weights as they are now."""
        frequency = self.frequency
        if frequency is None:
            frequency = np.zeros(state.engine.encoder_bias.numel(), np.float32)
        arrays = *state.engine.arrays(), frequency
        for name, array in zip(self.BEST, arrays, strict=True):
            if array is None:
                self.best_arrays.pop(name, None)
            elif name in self.best_arrays:  # fresh pages would cost more than the copy
                np.copyto(self.best_arrays[name], array)
            else:
                self.best_arrays[name] = array.copy()

    def return_judges(self, state, X):
        """Before the judges X are learned, too: go on from the best epoch if that was an earlier.

        The weights are kept as they are then; or as at the start, if no epoch was better.
        """
        self.is_judging = False
        if self.has_begun_best:
            return
        error = self.errors[-1]
        if self.has_got_worse:
            self.go_back(state)
            error = min(self.errors)
        self.keep(state)
        self.best = -error
        if state.engine.thresholds is not None:
            self.threshold_factors = state.threshold_factors(X)

    def go_back(self, state):
        """Go on from the weights kept."""
        *arrays, self.frequency = (
            array if array is None else array.copy()
            for array in map(self.best_arrays.get, self.BEST)
        )
        state.restore(arrays)

    def has_stalled(self, patience, tol):
        """Whether the last score is no better than those before the last so many."""
        reference = max(self.scores[:-patience], default=-np.inf)
        return bool(self.scores) and self.scores[-1] <= reference + tol

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
        """All but the arrays."""
        return {"losses": self.losses, "correlations": self.correlations,
                "scores": self.scores, "errors": self.errors, "best": self.best,
                "is_judging": self.is_judging, "choices": self.choices,
                "threshold_factors": self.threshold_factors}  # fmt: skip

    def restore(self, numbers, best_arrays, frequency):
        """Be as another was that gave these numbers as JSON."""
        vars(self).update(numbers)
        self.best_arrays, self.frequency = best_arrays, frequency

    def history(self):
        """The fitted attributes that come of it."""
        return {
            "loss_curve_": self.losses,
            "correlation_curve_": self.correlations,
            "n_iter_": self.n_epochs,
            "validation_scores_": self.scores or None,
            "best_validation_score_": self.best if self.scores else None,
            "atom_frequency_": self.frequency,
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
    size = f"{shape[0]} member(s) of {shape[1]} atoms over {shape[2]} features"
    check_fits(n_bytes, f"Training {size}, with Adam's moments,")


# --- Rows ---


def own_generator(random_state):
    """What all that is random comes from; of NumPy's global generator one number is drawn."""
    if random_state is None or random_state is np.random:
        return np.random.RandomState(check_random_state(None).randint(2**31 - 1))
    return check_random_state(random_state)


def hold_out(X, n_held_out, rng):
    """Rows to train on, and rows held out, each in their order."""
    if not n_held_out:
        return X, X[:0]
    order = rng.permutation(len(X))
    return X[np.sort(order[n_held_out:])], X[np.sort(order[:n_held_out])]


def n_judges(n_rows):
    """How many rows judge a fit for a while: a twentieth, or up to a tenth if that is few."""
    n = min(max(n_rows // 20, ENOUGH_JUDGES), n_rows // 10, MAX_JUDGES)
    return n if n >= MIN_JUDGES else 0


class EpochRows:
    """The rows of each epoch: those given, or what the augmenter makes of them."""

    def __init__(self, X, augmenter, rng):
        self.X, self.rng = X, rng
        self.augmenter = None if augmenter is None else clone(augmenter)

    def draw(self):
        return self.X if self.augmenter is None else _augmented(self.augmenter, self.X, self.rng)


def _augmented(augmenter, X, rng):
    _set_random_states(augmenter, rng)
    rows = check_array(augmenter.fit_transform(X), dtype=np.float32, order="C")
    if rows.shape[1] != X.shape[1]:
        raise ValueError(
            f"Expected the augmenter to keep {X.shape[1]} features, got {rows.shape[1]}."
        )
    return rows
