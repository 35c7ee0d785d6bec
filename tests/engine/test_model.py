"""The engine against autograd and torch.optim.Adam on the dense model."""

import itertools

import numpy as np
import pytest
import torch

from skl_sae._engine._adam import EPSILON
from skl_sae._engine._model import REVIVED, TopKEnsemble


def make_arrays(n_members, n_components, n_features, tied, seed=0):
    """Decoder, encoder or None, bias and centres of a random ensemble."""
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((n_members, n_components, n_features))
    decoder /= np.linalg.norm(decoder, axis=2, keepdims=True)
    encoder = None if tied else decoder + 0.1 * rng.standard_normal(decoder.shape)
    bias = 0.1 * rng.standard_normal((n_members, n_components))
    centers = 0.1 * rng.standard_normal((n_members, n_features))
    return [None if a is None else a.astype(np.float32) for a in (decoder, encoder, bias, centers)]


class DenseModel:
    """The equations as they are written, in float64, by autograd and torch.optim.Adam."""

    def __init__(self, decoder, encoder, bias, centers, *, k, learning_rate, by_batch=False):
        parameters = [torch.tensor(a, dtype=torch.float64) for a in (decoder, bias, centers)]
        if encoder is not None:
            parameters.append(torch.tensor(encoder, dtype=torch.float64))
        for parameter in parameters:
            parameter.requires_grad_()
        self.decoder, self.bias, self.centers = parameters[:3]
        self.encoder = parameters[3] if encoder is not None else self.decoder
        self.k, self.by_batch = k, by_batch
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, eps=EPSILON)
        self.rows_since_fired = torch.zeros(bias.shape)

    def loss(self, x, consistency, aux_coef, dead_after):
        """The whole loss, what of it is reported, and which atoms fired."""
        centred = x - self.centers[:, None]
        pre = centred @ self.encoder.mT + self.bias[:, None]
        codes = self.batch_top_k(pre, self.k) if self.by_batch else self.top_k(pre, self.k)
        residual = codes @ self.decoder - centred
        loss = (residual**2).mean()
        n_members = len(codes)
        pairs = list(itertools.combinations(range(n_members), 2))
        for e, f in pairs:
            loss = loss + consistency * ((codes[e] - codes[f]) ** 2).mean() / len(pairs)
        reported, dead = loss, self.rows_since_fired >= dead_after
        if aux_coef and dead.any():
            masked = torch.where(dead[:, None], pre, -torch.inf)
            codes_dead = self.top_k(masked, min(self.k, int(dead.sum(1).max())))
            left = codes_dead @ self.decoder + residual.detach()
            loss = loss + aux_coef * (left**2).mean()
        return loss, reported, (codes > 0).any(1)

    @staticmethod
    def top_k(pre, k):
        values, atoms = pre.topk(k)
        return torch.zeros_like(pre).scatter(2, atoms, values.relu())

    @staticmethod
    def batch_top_k(pre, k):
        flat = pre.flatten(1)
        values, places = flat.topk(k * pre.shape[1])
        return torch.zeros_like(flat).scatter(1, places, values.relu()).view_as(pre)

    def train_step(self, x, consistency=0.0, aux_coef=0.0, dead_after=np.inf):
        loss, reported, fired = self.loss(x.double(), consistency, aux_coef, dead_after)
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            # The gradient's component along an atom is removed, and the unit norm restored.
            gradient = self.decoder.grad
            gradient -= (gradient * self.decoder).sum(2, keepdim=True) * self.decoder
            self.optimizer.step()
            self.decoder /= self.decoder.norm(dim=2, keepdim=True)
        self.rows_since_fired += len(x)
        self.rows_since_fired[fired] = 0
        return reported.detach()


CASES = {
    "plain": {},
    "three members": {"n_members": 3},
    "consistency": {"n_members": 3, "consistency": 5.0},
    "dead atoms": {"aux_coef": 0.5, "dead_after": 20},
    "all at once": {"n_members": 3, "consistency": 5.0, "aux_coef": 0.5, "dead_after": 20},
    "ragged last batch": {"batches": (16, 16, 16, 16, 1)},
    "wide batch": {"batches": (80, 80, 80, 80, 80)},
    "every atom": {"k": 48},
    "one atom": {"k": 1},
    "no positive pre-activation": {"bias_shift": -1e3},
    "by batch": {"by_batch": True},
    "by batch, all at once": {
        "by_batch": True, "n_members": 3, "consistency": 5.0, "aux_coef": 0.5, "dead_after": 20,
    },
    "by batch, wide": {"by_batch": True, "n_members": 2, "batches": (80,) * 5},
    "by batch, every atom": {"by_batch": True, "k": 48},
    "by batch, no positive pre-activation": {"by_batch": True, "bias_shift": -1e3},
    "many steps": {"n_steps": 25, "learning_rate": 1e-2, "tolerance": 1e-5},
}  # fmt: skip


# torch's optimizer classes import sympy at first use, which adds a filter.
@pytest.mark.touches_globals("warning filters")
@pytest.mark.parametrize("products", ["small", "shared", "dense"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_steps_equal_autograd(case, tied, products, monkeypatch):
    """In one compiled call, by compiled loops shared by threads, and by torch alone."""
    if products == "shared":
        monkeypatch.setattr("skl_sae._engine._threads.SHARED_SIZE", 0)
    case = dict(case)
    shape = case.pop("n_members", 1), 48, 20
    batches = case.pop("batches", (16,) * case.pop("n_steps", 5))
    learning_rate, k = case.pop("learning_rate", 1e-3), case.pop("k", 4)
    tolerance, shift = case.pop("tolerance", 1e-5), case.pop("bias_shift", 0)
    arrays = make_arrays(*shape, tied)
    arrays[2] += np.float32(shift)
    by_batch = case.pop("by_batch", False)
    model = DenseModel(*arrays, k=k, learning_rate=learning_rate, by_batch=by_batch)
    thresholds = np.zeros(len(arrays[0]), np.float32) if by_batch else None
    engine = TopKEnsemble(*arrays, thresholds, k=k, sparse=products != "dense")
    generator = torch.Generator().manual_seed(0)
    for n_rows in batches:
        x = torch.randn(n_rows, shape[2], generator=generator)
        expected = model.train_step(x, **case)
        loss, _ = engine.train_step(x, learning_rate, **case)
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    engine.catch_up()
    for name in ("decoder", "encoder", "encoder_bias", "centers"):
        got = getattr(engine, name).double()
        expected = getattr(model, "bias" if name == "encoder_bias" else name).detach()
        scale = expected.abs().max()
        assert (got - expected).abs().max() <= tolerance * scale, name
    assert torch.equal(engine.rows_since_fired, model.rows_since_fired)


def test_small_steps_are_taken_where_they_can_be():
    """And calls one by one where more is asked; else the test before compares what it need not."""
    x = torch.zeros(16, 20)
    engine = TopKEnsemble(*make_arrays(2, 48, 20, tied=False), k=4, sparse=True)
    assert engine.takes_small_step(x, consistency=0)
    assert not engine.takes_small_step(x, consistency=0.1)
    assert not engine.takes_small_step(torch.zeros(2**16, 20), consistency=0)
    thresholds = np.zeros(2, np.float32)
    engine = TopKEnsemble(*make_arrays(2, 48, 20, tied=False), thresholds, k=4, sparse=True)
    assert not engine.takes_small_step(x, consistency=0)


@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_dead_atoms_loss_leaves_live_atoms_alone(sparse):
    """With the main loss's gradient at zero, only dead atoms can move."""
    arrays = make_arrays(1, 48, 20, tied=False)
    before = [a.copy() for a in arrays]
    engine = TopKEnsemble(*arrays, k=4, sparse=sparse)
    x = torch.randn(16, 20, generator=torch.Generator().manual_seed(0))
    _, atoms = engine.encode(x)
    live = atoms.unique()
    engine.rows_since_fired[:] = 100
    engine.rows_since_fired[0, live] = 0
    with_aux = [a.copy() for a in before]
    engine_without = TopKEnsemble(*with_aux, k=4, sparse=sparse)
    engine_without.train_step(x, 1e-3)
    engine.train_step(x, 1e-3, aux_coef=1.0, dead_after=50)
    assert torch.equal(engine.decoder[0, live], engine_without.decoder[0, live])
    assert torch.equal(engine.encoder[0, live], engine_without.encoder[0, live])
    dead = np.setdiff1d(np.arange(48), live)
    assert not np.array_equal(engine.decoder[0, dead], engine_without.decoder[0, dead])


@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_encoders_of_dead_atoms_become_faint_atoms(sparse):
    engine = TopKEnsemble(*make_arrays(2, 48, 20, tied=False), k=4, sparse=sparse)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        engine.train_step(torch.randn(16, 20, generator=generator), 1e-2)
    dead = engine.rows_since_fired >= 32
    before = engine.encoder.clone()
    assert dead.any(1).all() and not dead.all(1).any()
    engine.revive(32)
    assert torch.equal(engine.encoder[dead], REVIVED * engine.decoder[dead])
    assert torch.equal(engine.encoder[~dead], before[~dead])
    assert not torch.equal(engine.encoder[dead], before[dead])


def test_atom_left_behind_equals_dense_path():
    """An atom not picked for longer than momentum lasts is where Adam would have it."""
    kept, other = make_arrays(1, 64, 8, tied=False), make_arrays(1, 64, 8, tied=False)
    sparse = TopKEnsemble(*kept, k=2, sparse=True)
    dense = TopKEnsemble(*other, k=2, sparse=False)
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(8, 8, generator=generator)
    later = first[:1] + 0.01 * torch.randn(400, 8, 8, generator=generator)
    for x in [first, *later, first]:
        for engine in (sparse, dense):
            engine.train_step(x, 1e-4)
    sparse.catch_up()
    torch.testing.assert_close(sparse.decoder, dense.decoder, rtol=0, atol=2e-5)
    torch.testing.assert_close(sparse.encoder, dense.encoder, rtol=0, atol=2e-5)


def test_threshold_is_the_mean_of_a_window():
    """Of the batches' smallest activations, of which all weigh the same at first."""
    engine = TopKEnsemble(*make_arrays(1, 48, 20, tied=True), np.zeros(1, np.float32), k=4)
    generator, smallest, expected = torch.Generator().manual_seed(0), [], 0
    for i in range(5):
        x = torch.randn(16, 20, generator=generator)
        pre = (x - engine.centers) @ engine.encoder[0].T + engine.encoder_bias
        smallest.append(float(pre.flatten().topk(4 * 16).values[-1]))
        engine.train_step(x, 1e-3, dead_after=48)
        expected += (smallest[-1] - expected) / min(i + 1, 3)
        assert float(engine.thresholds) == pytest.approx(expected, rel=1e-5)
    activations, _ = engine.encode(x)
    assert activations[activations > 0].min() >= engine.thresholds


def test_steps_leave_no_trace_in_autograd_modes():
    arrays = make_arrays(1, 64, 8, tied=False)
    engine = TopKEnsemble(*arrays, k=2)
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            loss, reconstruction = engine.train_step(x, 1e-3)
        assert not (loss.requires_grad or reconstruction.is_inference())
