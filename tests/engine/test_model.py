"""The model against autograd and torch.optim.Adam on the dense model."""

import itertools

import numpy as np
import pytest
import torch

from skl_sae._engine._adam import EPSILON
from skl_sae._engine._model import REVIVED, LinearModel
from skl_sae._engine._parameters import Batch, Objective, Parameters
from skl_sae._engine.kernels._parcels import EARLIER_SHARE


def make_parameters(n_members, n_components, n_features, tied, by_batch=False, seed=0):
    """Random parameters."""
    rng = np.random.default_rng(seed)
    decoder = rng.standard_normal((n_members, n_components, n_features))
    decoder /= np.linalg.norm(decoder, axis=2, keepdims=True)
    encoder = None if tied else decoder + 0.1 * rng.standard_normal(decoder.shape)
    bias = 0.1 * rng.standard_normal((n_members, n_components))
    centers = 0.1 * rng.standard_normal((n_members, n_features))
    thresholds = np.zeros(n_members) if by_batch else None
    parameters = Parameters(decoder, encoder, bias, centers, thresholds)
    return parameters.map(lambda array: array.astype(np.float32))


def damped(of_atoms, begin):
    """The same (E, any, H), but less gradient passes by the first atoms."""
    kept = of_atoms.detach()
    is_earlier = torch.arange(of_atoms.shape[2]) < begin
    return torch.where(is_earlier, kept + EARLIER_SHARE * (of_atoms - kept), of_atoms)


class DenseModel:
    """The equations as they are written, in float64, by autograd and torch.optim.Adam."""

    def __init__(self, parameters, *, k, learning_rate):
        arrays = parameters.named()
        self.by_batch = arrays.pop("thresholds", None) is not None
        own = {
            name: torch.tensor(array, dtype=torch.float64).requires_grad_()
            for name, array in arrays.items()
        }
        vars(self).update({"encoder": own["decoder"], **own})
        self.k = k
        self.optimizer = torch.optim.Adam(own.values(), lr=learning_rate, eps=EPSILON)
        self.rows_since = torch.zeros(self.bias.shape)

    def loss(self, x, weight, objective):
        """The whole loss, what of it is reported, and which atoms fired."""
        consistency, aux_coef, dead_after, prefixes = objective
        weight = torch.ones(len(self.bias), len(x)) if weight is None else weight
        weight = weight.double()[..., None]
        centred = x - self.centers[:, None]
        pre = centred @ self.encoder.mT + self.bias[:, None]
        loss, begin = 0, 0
        for n in (*prefixes, pre.shape[2]):
            answers, atoms = damped(pre[..., :n], begin), damped(self.decoder[:, :n].mT, begin).mT
            codes = self.code(answers, n if n < pre.shape[2] else None)
            residual = codes @ atoms - centred
            loss, begin = loss + (weight * residual**2).mean() / (1 + len(prefixes)), n
        n_members = len(codes)
        pairs = list(itertools.combinations(range(n_members), 2))
        for e, f in pairs:
            # Rows count alike for both.
            loss = loss + consistency * (weight[e] * (codes[e] - codes[f]) ** 2).mean() / len(pairs)
        reported, dead = loss, self.rows_since >= dead_after
        if aux_coef and dead.any():
            masked = torch.where(dead[:, None], pre, -torch.inf)
            codes_dead = self.top_k(masked, min(self.k, int(dead.sum(1).max())))
            left = codes_dead @ self.decoder + residual.detach()
            loss = loss + aux_coef * (weight * left**2).mean()
        return loss, reported, (codes > 0).any(1)

    def code(self, pre, prefix):
        """Codes; of a prefix of fewer than 2 k atoms the first have no ReLU and are all active."""
        if self.by_batch:
            return self.batch_top_k(pre, self.k)
        n_always = 0
        if prefix is not None and prefix < 2 * self.k:
            n_always = min(prefix, 2 * self.k - prefix)
        others = self.top_k(pre[..., n_always:], min(self.k, pre.shape[2]) - n_always)
        return torch.cat([pre[..., :n_always], others], dim=2)

    @staticmethod
    def top_k(pre, k):
        values, atoms = pre.topk(k)
        return torch.zeros_like(pre).scatter(2, atoms, values.relu())

    @staticmethod
    def batch_top_k(pre, k):
        flat = pre.flatten(1)
        values, places = flat.topk(k * pre.shape[1])
        return torch.zeros_like(flat).scatter(1, places, values.relu()).view_as(pre)

    def step(self, batch, objective):
        loss, reported, fired = self.loss(batch.rows.double(), batch.weight, objective)
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            # The gradient's component along an atom is removed, and the unit norm restored.
            gradient = self.decoder.grad
            gradient -= (gradient * self.decoder).sum(2, keepdim=True) * self.decoder
            self.optimizer.step()
            self.decoder /= self.decoder.norm(dim=2, keepdim=True)
        self.rows_since += len(batch.rows)
        self.rows_since[fired] = 0
        return reported.detach()


CASES = {
    "plain": {},
    "three members": {"n_members": 3},
    "consistency": {"n_members": 3, "consistency": 5.0},
    "dead atoms": {"aux_coef": 0.5, "dead_after": 20},
    "all at once": {"n_members": 3, "consistency": 5.0, "aux_coef": 0.5, "dead_after": 20},
    "ragged last batch": {"batches": (16, 16, 16, 16, 1)},
    "wide batch": {"batches": (80, 80, 80, 80, 80)},
    "prefixes": {"prefixes": (8, 20)},
    "prefixes of always active atoms": {"prefixes": (3, 6)},
    "prefixes, all at once": {
        "prefixes": (3, 6, 20), "n_members": 3, "consistency": 5.0, "aux_coef": 0.5,
        "dead_after": 20,
    },
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


# The budget of a batch is spent by weight, which `test_weights_equal_repetition` compares.
WEIGHTED_CASES = {name: (case, False) for name, case in CASES.items()} | {
    f"{name}, weighted": (case, True) for name, case in CASES.items() if "by_batch" not in case
}


def weights_of(rows, n_members, alike, generator):
    """Weights of rows, different for each member unless they are to be alike."""
    shape = (1, rows) if alike else (n_members, rows)
    return (2 * torch.rand(shape, generator=generator)).expand(n_members, -1).contiguous()


# torch's optimizer classes import sympy at first use, which adds a filter.
@pytest.mark.touches_globals("warning filters")
@pytest.mark.parametrize("products", ["one range", "shared", "dense"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("case, weighted", WEIGHTED_CASES.values(), ids=WEIGHTED_CASES.keys())
def test_steps_equal_autograd(case, weighted, tied, products, monkeypatch):
    """By compiled loops, in this thread or shared by several, and by torch alone."""
    if products == "shared":
        monkeypatch.setattr("skl_sae._engine._threads.SHARED_SIZE", 0)
    case = dict(case)
    shape = case.pop("n_members", 1), 48, 20
    batches = case.pop("batches", (16,) * case.pop("n_steps", 5))
    learning_rate, k = case.pop("learning_rate", 1e-3), case.pop("k", 4)
    tolerance, shift = case.pop("tolerance", 1e-5), case.pop("bias_shift", 0)
    by_batch = case.pop("by_batch", False)
    parameters = make_parameters(*shape, tied, by_batch)
    parameters.bias += np.float32(shift)
    expected = DenseModel(parameters, k=k, learning_rate=learning_rate)
    model = LinearModel(parameters, k=k, fused=products != "dense")
    generator, objective = torch.Generator().manual_seed(0), Objective(**case)
    for n_rows in batches:
        rows, weight = torch.randn(n_rows, shape[2], generator=generator), None
        if weighted:
            weight = weights_of(n_rows, shape[0], "consistency" in case, generator)
        batch = Batch(rows, weight)
        loss = expected.step(batch, objective)
        result = model.step(batch, objective, learning_rate)
        assert float(result.loss) == pytest.approx(float(loss), rel=1e-5)
    model.catch_up()
    for name, got in model.parameters.named().items():
        if name != "thresholds":
            wanted = getattr(expected, name).detach()
            difference = (got.double() - wanted).abs().max()
            assert difference <= tolerance * wanted.abs().max(), name
    assert torch.equal(model.counts.rows_since, expected.rows_since)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "dense"])
@pytest.mark.parametrize("by_batch", [False, True], ids=["topk", "batch_topk"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_weights_equal_repetition(tied, by_batch, fused):
    """Whole weights, 0 among them, in one batch of all rows; counts and thresholds too."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(24, 20, generator=generator)
    # A budget that ended within the repetitions of one row would take only some of them.
    times = 2 * torch.randint(2, (24,), generator=generator)
    if not by_batch:
        times = torch.randint(4, (24,), generator=generator)
    mean = times.double().mean()
    models = [
        LinearModel(make_parameters(2, 96, 20, tied, by_batch), k=4, fused=fused) for _ in range(2)
    ]
    weighted = Batch(rows, (times / mean).float().expand(2, -1).contiguous())
    repeated = Batch(rows.repeat_interleave(times, 0))
    objective = Objective(consistency=0.5, aux_coef=0.25)
    for _ in range(5):
        results = [
            model.step(batch, objective, 1e-3)
            for model, batch in zip(models, (weighted, repeated), strict=True)
        ]
        assert float(results[0].loss) == pytest.approx(float(results[1].loss), rel=1e-5)
    got, wanted = (model.arrays().named() for model in models)
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
    fired = models[0].counts.fired * float(mean)
    np.testing.assert_allclose(fired, models[1].counts.fired, atol=1e-3)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "dense"])
def test_dead_atoms_loss_leaves_live_atoms_alone(fused):
    """With the main loss's gradient at zero, only dead atoms can move."""
    model, without = (
        LinearModel(make_parameters(1, 48, 20, tied=False), k=4, fused=fused) for _ in range(2)
    )
    batch = Batch(torch.randn(16, 20, generator=torch.Generator().manual_seed(0)))
    live = model.encode(batch.rows).indices.unique()
    model.counts.rows_since[:] = 100
    model.counts.rows_since[0, live] = 0
    without.step(batch, Objective(), 1e-3)
    model.step(batch, Objective(aux_coef=1.0, dead_after=50), 1e-3)
    got, wanted = model.parameters, without.parameters
    assert torch.equal(got.decoder[0, live], wanted.decoder[0, live])
    assert torch.equal(got.encoder[0, live], wanted.encoder[0, live])
    dead = np.setdiff1d(np.arange(48), live)
    assert not np.array_equal(got.decoder[0, dead], wanted.decoder[0, dead])


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "dense"])
def test_encoders_of_dead_atoms_become_faint_atoms(fused):
    model = LinearModel(make_parameters(2, 48, 20, tied=False), k=4, fused=fused)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        model.step(Batch(torch.randn(16, 20, generator=generator)), Objective(), 1e-2)
    dead = model.counts.rows_since >= 32
    p = model.parameters
    before = p.encoder.clone()
    assert dead.any(1).all() and not dead.all(1).any()
    model.revive(32)
    assert torch.equal(p.encoder[dead], REVIVED * p.decoder[dead])
    assert torch.equal(p.encoder[~dead], before[~dead])
    assert not torch.equal(p.encoder[dead], before[dead])


def test_atom_left_behind_equals_dense_path():
    """An atom not picked for longer than momentum lasts is where Adam would have it."""
    models = [
        LinearModel(make_parameters(1, 64, 8, tied=False), k=2, fused=fused)
        for fused in (True, False)
    ]
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(8, 8, generator=generator)
    later = first[:1] + 0.01 * torch.randn(400, 8, 8, generator=generator)
    for rows in [first, *later, first]:
        for model in models:
            model.step(Batch(rows), Objective(), 1e-4)
    got, wanted = (model.arrays() for model in models)
    np.testing.assert_allclose(got.decoder, wanted.decoder, rtol=0, atol=2e-5)
    np.testing.assert_allclose(got.encoder, wanted.encoder, rtol=0, atol=2e-5)


def test_threshold_is_the_mean_of_a_window():
    """Mean of the batches' smallest activations, of which all weigh the same at first."""
    model = LinearModel(make_parameters(1, 48, 20, tied=True, by_batch=True), k=4)
    p = model.parameters
    generator, smallest, expected = torch.Generator().manual_seed(0), [], 0
    for i in range(5):
        rows = torch.randn(16, 20, generator=generator)
        preactivations = (rows - p.centers) @ p.weights[0].T + p.bias
        smallest.append(float(preactivations.flatten().topk(4 * 16).values[-1]))
        model.step(Batch(rows), Objective(dead_after=48), 1e-3)
        expected += (smallest[-1] - expected) / min(i + 1, 3)
        assert float(p.thresholds) == pytest.approx(expected, rel=1e-5)
    values = model.encode(rows).values
    assert values[values > 0].min() >= p.thresholds


def test_steps_leave_no_trace_in_autograd_modes():
    model = LinearModel(make_parameters(1, 64, 8, tied=False), k=2)
    batch = Batch(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            result = model.step(batch, Objective(), 1e-3)
        assert not (result.reconstruction.requires_grad or result.reconstruction.is_inference())


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "dense"])
def test_members_are_combined_as_asked_for(fused):
    """Each step and each reconstruction by the same rule."""
    parameters = make_parameters(3, 64, 8, tied=True)
    rows = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    alone = [
        LinearModel(parameters.map(lambda array, e=e: array[e : e + 1]), k=2).reconstruct(rows)
        for e in range(3)
    ]
    for combine in (lambda members: members.sum(0), lambda members: members.mean(0)):
        model = LinearModel(parameters.copy(), k=2, fused=fused, combine=combine)
        expected = combine(torch.stack(alone)).numpy()
        np.testing.assert_allclose(model.reconstruct(rows), expected, atol=1e-5)
        result = model.step(Batch(rows), Objective(), 1e-3)
        np.testing.assert_allclose(result.reconstruction, expected, atol=1e-5)
