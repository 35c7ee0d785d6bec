"""The convolutional model: its fused step against the reference, and that against autograd."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from skl_sae._engine._conv import ConvModel
from skl_sae._engine._parameters import Batch, Objective, Parameters
from skl_sae._engine._places import Places
from skl_sae._engine._pursuit import ConvPursuit, adapt_conv_atoms

SHAPE, ATOM, N_ATOMS, K = (9, 11, 2), (4, 5, 2), 12, 7
STRIDES = [(2, 3), (4, 5), (1, 1), (3, 2)]
OBJECTIVES = [Objective(), Objective(aux_coef=0.25, dead_after=1)]


def make(stride, tied=True, fused=True, seed=0):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((1, N_ATOMS, int(np.prod(ATOM)))).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=2, keepdims=True)
    noise = 0.1 * rng.standard_normal(atoms.shape).astype(np.float32)
    bias = 0.1 * rng.standard_normal((1, N_ATOMS)).astype(np.float32)
    encoder = None if tied else atoms + noise
    parameters = Parameters(atoms, encoder, bias, np.zeros((1, SHAPE[2]), np.float32))
    return ConvModel(parameters, places=Places(SHAPE, ATOM, stride), k=K, fused=fused)


def images(n, seed=0):
    return torch.randn(n, int(np.prod(SHAPE)), generator=torch.Generator().manual_seed(seed))


def weights(n):
    weight = torch.rand(1, n, generator=torch.Generator().manual_seed(9)) + 0.5
    return weight / weight.mean()


def assert_close(actual, expected, atol=1e-6, rtol=1e-5):
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), atol=atol, rtol=rtol)


def dictionary(places, atoms):
    """All atoms at all places, as framed images: (P H, L)."""
    rows = []
    for place in range(len(places)):
        for atom in atoms:
            patches = torch.zeros(len(places), places.atom_size)
            patches[place] = atom
            framed = torch.zeros(1, places.n_framed)
            places.add_patches(patches, framed)
            rows.append(framed[0])
    return torch.stack(rows)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("inside", [False, True])
def test_every_pixel_is_at_some_place(stride, inside):
    places = Places(SHAPE, ATOM, stride, inside)
    framed = torch.zeros(1, places.n_framed)
    places.add_patches(torch.ones(len(places), places.atom_size), framed)
    covered = places.unframe(framed)
    assert covered.numel() == np.prod(SHAPE)
    assert (covered >= 1).all()
    full = np.prod([-(-side // step) for side, step in zip(ATOM, stride, strict=False)])
    if not inside:  # at the edge as often as elsewhere
        assert covered.min() >= np.prod([s // t for s, t in zip(ATOM, stride, strict=False)])
    assert covered.max() <= full


def test_margin_is_the_edge_of_the_image():
    places = Places((2, 3, 1), (2, 2, 1), (1, 1))
    framed = places.frame(torch.arange(6.0)[None]).view(4, 5)
    expected = [[0, 0, 1, 2, 2], [0, 0, 1, 2, 2], [3, 3, 4, 5, 5], [3, 3, 4, 5, 5]]
    assert framed.tolist() == expected
    assert places.unframe(framed.view(1, -1)).flatten().tolist() == list(range(6))


@pytest.mark.parametrize("stride", [(2, 3), (4, 5), (1, 1), (2, 5)])
def test_squared_windows_add_up_to_1(stride):
    places = Places(SHAPE, ATOM, stride)
    framed = torch.zeros(1, places.n_framed)
    places.add_patches(places.window().square().repeat(len(places), 1), framed)
    np.testing.assert_allclose(places.unframe(framed).flatten(), 1, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("stride", STRIDES)
def test_code_is_that_of_the_whole_dictionary(stride, fused):
    model = make(stride, tied=False, fused=fused)
    places, x = model.places, images(5)
    encoder = dictionary(places, model.parameters.encoder[0])
    bias = model.parameters.bias[0].repeat(len(places))
    answers = (places.frame(x) @ encoder.T + bias).clamp(min=0)
    largest, indices = answers.topk(K)
    active = model.encode(x)
    codes = torch.zeros_like(answers).scatter_add_(1, active.indices[0], active.values[0])
    expected = torch.zeros_like(answers).scatter_(1, indices, largest)
    assert_close(codes, expected, atol=1e-5, rtol=1e-5)
    atoms = dictionary(places, model.parameters.decoder[0])
    assert_close(
        model.decode(active), places.unframe(expected @ atoms).reshape(len(x), -1),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_equal_answers_beyond_the_budget_are_left_out():
    """All inner places of a plain image answer alike, so no choice among them is made."""
    model = make((4, 5))
    active = model.encode(torch.full((1, int(np.prod(SHAPE))), 3.0))
    counts = (active.values > 0).sum()
    places = len(model.places)
    assert int(counts) % places == 0
    assert counts <= K


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("sizes", [(2,), (1, 2), (3, 2, 2, 1, 1), (9, 4, 4, 1), (1, 9), (8,)])
def test_smaller_answers_follow_equal_ones(monkeypatch, sizes, fused):
    """From the largest on, each group of equal answers that fits into what is left of the budget.

    An image that holds the same thing twice has all its answers twice. To search them all over
    again for each pair would take minutes.
    """
    model = make((1, 1), fused=fused)
    n_answers = len(model.places) * N_ATOMS
    sizes = np.resize(sizes, n_answers)
    group = np.repeat(np.arange(n_answers), sizes)[:n_answers]
    answers = 1 - group / n_answers
    order = np.random.default_rng(0).permutation(n_answers)
    expected, left = np.zeros(n_answers), K
    for number, size in enumerate(np.bincount(group)):
        if size <= left:
            expected[order[group == number]] = answers[group == number]
            left -= size
    shuffled = np.empty(n_answers, np.float32)
    shuffled[order] = answers
    searches, search = [], model._largest
    monkeypatch.setattr(model, "_largest", lambda *args: searches.append(1) or search(*args))
    active = model._largest_unequal(torch.from_numpy(shuffled)[None, None])
    codes = torch.zeros(n_answers).scatter_add_(0, active.indices[0, 0], active.values[0, 0])
    np.testing.assert_array_equal(codes, expected.astype(np.float32))
    assert len(searches) < 10


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("stride", STRIDES[:2])
def test_gradients_are_those_of_autograd(stride, weighted, tied, objective):
    model, x = make(stride, tied, fused=False), images(6)
    weight = weights(6) if weighted else None
    dead = torch.zeros(N_ATOMS, dtype=torch.bool)
    dead[::3] = True
    model.counts.rows_since[0, dead] = 10
    result, gradients = model.gradients(Batch(x, weight), objective)
    loss, aux, expected = by_autograd(make(stride, tied), x, weight, dead, objective)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
    for name, gradient in expected.items():
        assert_close(getattr(gradients, name), gradient, atol=1e-6, rtol=1e-4)
    assert (aux > 0) == bool(objective.aux_coef)


def by_autograd(model, x, weight, dead, objective):
    """Loss, that of the dead atoms, and gradients across the atoms, by the plain formula."""
    p, places = model.parameters, model.places
    decoder, bias = p.decoder.clone().requires_grad_(), p.bias.clone().requires_grad_()
    encoder = decoder if p.tied else p.encoder.clone().requires_grad_()
    weight = torch.ones(len(x)) if weight is None else weight[0]

    def reconstruct(codes):
        framed = torch.zeros(len(x), places.n_framed)
        index = places.patches(torch.arange(places.n_framed)[None]).flatten()
        patches = (codes.view(-1, N_ATOMS) @ decoder[0]).view(len(x), -1)
        return places.unframe(framed.index_add(1, index, patches)).reshape(len(x), -1)

    answers = places.patches(places.frame(x)) @ encoder[0].T + bias[0]
    answers = answers.view(len(x), -1)
    values, indices = answers.topk(K)
    codes = torch.zeros_like(answers).scatter(1, indices, values.relu())
    residual = reconstruct(codes) - x
    loss = (residual.square().mean(1) * weight).mean()
    aux = torch.zeros(())
    if objective.aux_coef:
        masked = answers.masked_fill(~dead.repeat(len(places)), -torch.inf)
        values, indices = masked.topk(K)
        codes = torch.zeros_like(answers).scatter(1, indices, values.relu())
        left = residual.detach() + reconstruct(codes)
        aux = objective.aux_coef * (left.square().mean(1) * weight).mean()
    (loss + aux).backward()
    across = decoder.grad - (decoder.grad * decoder).sum(2, keepdim=True) * decoder.detach()
    expected = {"decoder": across.detach(), "bias": bias.grad}
    if not p.tied:
        expected["encoder"] = encoder.grad
    return float(loss.detach()), float(aux.detach()), expected


@pytest.mark.parametrize("dead_after", [float("inf"), 3])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stride", STRIDES)
def test_fused_steps_are_those_of_the_reference(stride, tied, dead_after):
    fused, reference = (make(stride, tied, fused) for fused in (True, False))
    objective = Objective(aux_coef=0.25, dead_after=dead_after)
    for i in range(6):
        batch = Batch(images(4, seed=i), weights(4) if i % 2 else None)
        results = [model.step(batch, objective, 1e-2) for model in (fused, reference)]
    np.testing.assert_allclose(results[0].loss, float(results[1].loss), rtol=1e-5)
    fused.catch_up()
    for name, array in fused.parameters.named().items():
        other = reference.parameters.named()[name]
        assert_close(array, other, atol=1e-5, rtol=1e-4)
    for counts, others in zip(fused.counts, reference.counts, strict=True):
        assert_close(counts, others)


def test_result_does_not_depend_on_the_number_of_threads(monkeypatch):
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr("skl_sae._engine._conv.n_threads_for", lambda n, t=n_threads: t)
        monkeypatch.setattr("skl_sae._engine._adam.n_threads_for", lambda n, t=n_threads: t)
        monkeypatch.setattr("skl_sae._engine._fused.n_threads_for", lambda n, t=n_threads: t)
        model = make((2, 3))
        for i in range(3):
            model.step(Batch(images(4, seed=i)), Objective(), 1e-2)
        results.append(model.parameters.decoder.clone())
    assert torch.equal(*results)


@pytest.mark.parametrize("stride", STRIDES)
def test_pursuit_is_that_of_scikit_learn(stride):
    model, x = make(stride), images(4)
    inner, numbers = model.places.inner()
    atoms = dictionary(inner, model.parameters.decoder[0])
    active = ConvPursuit(model).encode(x)
    codes = np.zeros((len(x), len(model.places) * N_ATOMS))
    np.put_along_axis(codes, active.indices[0].numpy(), active.values[0].numpy(), 1)
    targets = inner.frame(x).T.double().numpy()
    expected = np.zeros((len(x), len(model.places), N_ATOMS))
    of_inner = orthogonal_mp(atoms.T.double().numpy(), targets, n_nonzero_coefs=K).T
    expected[:, numbers] = of_inner.reshape(len(x), len(inner), N_ATOMS)
    np.testing.assert_allclose(codes, expected.reshape(codes.shape), atol=1e-5)


@pytest.mark.parametrize("stride", STRIDES)
def test_pursuit_ends_where_a_part_of_the_image_is_left(stride):
    model, x = make(stride), images(12)
    inner, _ = model.places.inner()
    atoms = dictionary(inner, model.parameters.decoder[0]).double().numpy()
    active = ConvPursuit(model, 0.93).encode(x)
    counts = (active.values[0] != 0).sum(1)
    for target, n_picks in zip(inner.frame(x).double().numpy(), counts.tolist(), strict=True):
        path = orthogonal_mp(atoms.T, target, n_nonzero_coefs=K, return_path=True)
        left = np.square(target[:, None] - atoms.T @ path).sum(0)
        few_enough = np.flatnonzero(left <= 0.93 * target @ target)
        assert n_picks == (1 + few_enough[0] if len(few_enough) else K)
    assert len(counts.unique()) > 1


def test_inner_places_are_those_inside_the_image():
    places = Places((8, 12, 1), (4, 4, 1), (2, 4))
    inner, numbers = places.inner()
    assert (places.counts, inner.counts) == ((5, 3), (3, 3))
    assert numbers.tolist() == list(range(3, 12))
    assert not inner.has_margin


def test_atoms_adapted_to_pursuit_leave_less():
    model, x = make((2, 5)), images(40)

    def error():
        return float((model.decode(ConvPursuit(model).encode(x)) - x).square().mean())

    before = error()
    adapt_conv_atoms(model, x, np.random.RandomState(0), 3)
    assert error() < 0.97 * before
    np.testing.assert_allclose(model.parameters.decoder.norm(dim=2), 1, rtol=1e-5)


def test_pursuit_ends_where_nothing_is_left():
    model = make((4, 5))
    atoms = dictionary(model.places, model.parameters.decoder[0])
    x = model.places.unframe(2 * atoms[:1] - atoms[40:41])
    active = ConvPursuit(model).encode(torch.cat([x.reshape(1, -1), torch.zeros_like(images(1))]))
    assert not active.values[0, 1].any()
