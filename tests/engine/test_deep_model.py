"""DeepModel against plain loops of NumPy and against autograd."""

import numpy as np
import pytest
import torch

from skl_sae._engine._deep import SUPERVISION, DeepModel, unrolled
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Batch, Objective, Parameters
from skl_sae._engine._refit import Refit

H, D, K = 24, 10, 4
NAMES = "decoder", "bias", "centers", "scales", "correction_biases"


def parameters(n_corrections=2, seed=0, threshold=None):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((1, H, D)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=2, keepdims=True)

    def near(array, spread=0.1):
        return (array + spread * rng.standard_normal(array.shape)).astype(np.float32)

    zeros = np.zeros((1, H), np.float32)
    linear = Parameters(atoms, None, near(zeros), near(np.zeros((1, D)), 1.0))
    deep = unrolled(linear, n_corrections)
    deep.scales = near(deep.scales)
    deep.correction_biases = near(deep.correction_biases)
    if threshold is not None:
        deep.thresholds = np.array([threshold], np.float32)
    return deep


def rows(n=30, seed=1):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def weights(n, seed=9):
    weight = torch.rand(1, n, generator=torch.Generator().manual_seed(seed)) + 0.5
    return weight / weight.mean()


def dense(active):
    codes = torch.zeros(active.indices.shape[1], H)
    return codes.scatter_add_(1, active.indices[0], active.values[0]).numpy()


def largest(answers):
    """The k largest of a row, none negative."""
    code = np.zeros_like(answers)
    picks = np.argsort(answers)[-K:]
    code[picks] = np.maximum(answers[picks], 0)
    return code


def code_of(row, p):
    """The equations, for one row."""
    row = row.astype(np.float64) - p.centers[0]
    atoms = p.decoder[0]
    code = largest(p.scales[0] * (atoms @ row) + p.bias[0])
    for scales, bias in zip(p.scales[1:], p.correction_biases, strict=True):
        answers = code + scales * (atoms @ (row - atoms.T @ code)) + bias
        code = largest(answers)
    return code if p.thresholds is None else np.where(answers >= p.thresholds[0], answers, 0)


@pytest.mark.parametrize("threshold", [None, 0.5])
@pytest.mark.parametrize("n_rows", [0, 1000], ids=["residuals", "products of all atoms"])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("n_corrections", [1, 2, 4])
def test_code_is_that_of_the_equations(n_corrections, fused, n_rows, threshold):
    p, X = parameters(n_corrections, threshold=threshold), rows()
    model = DeepModel(p.copy(), k=K, fused=fused)
    model.expect(n_rows)
    assert (model.gram is None) == (n_rows == 0)
    codes = dense(model.encode(X))
    expected = np.stack([code_of(row, p) for row in X.numpy()])
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    np.testing.assert_allclose(
        model.reconstruct(X).numpy(), expected @ p.decoder[0] + p.centers[0], atol=1e-5
    )


@pytest.mark.parametrize("n_rows", [0, 1000], ids=["residuals", "products of all atoms"])
def test_compiled_loops_give_the_code_of_torch(n_rows):
    """Also of rows that have few positive answers, or none, and of atoms that are silent."""
    p, X = parameters(), rows(200)
    p.bias[0], p.bias[0, :2], p.correction_biases[:] = -1.5, -1e9, -0.5
    X[:5] = torch.from_numpy(p.centers[0])
    expected, model = DeepModel(p.copy(), k=K, fused=False), DeepModel(p.copy(), k=K, fused=True)
    model.expect(n_rows)
    codes = dense(model.encode(X))
    np.testing.assert_allclose(codes, dense(expected.encode(X)), atol=1e-5)
    counts = (codes > 0).sum(1)
    assert set(counts) == set(range(K + 1))


@pytest.mark.parametrize("fused", [True, False])
def test_a_threshold_is_fitted_to_what_the_last_layer_answers(fused):
    model, X = DeepModel(parameters(threshold=9), k=K, fused=fused), rows(200)
    for k in (None, 2.5):
        model.fit_thresholds(X, k)
        assert (dense(model.encode(X)) > 0).sum() == 200 * (k or K)


def test_training_moves_the_threshold_to_the_smallest_answer_of_a_batch():
    model, X = DeepModel(parameters(threshold=0), k=K), rows(200)
    model.step(Batch(X), Objective(dead_after=1000), 1e-9)
    wanted = DeepModel(parameters(threshold=0), k=K)
    wanted.fit_thresholds(X)
    np.testing.assert_allclose(model.parameters.thresholds, wanted.parameters.thresholds, rtol=1e-5)
    assert model.counts.fired.sum() == 200 * K


def by_autograd(p, X, weight):
    """Loss and gradients of float64 parameters by torch, the top-k a choice that is made."""
    by_batch = p.thresholds is not None
    p = {name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
         for name, array in p.named().items()}  # fmt: skip

    def top(answers):
        values, indices = answers.topk(K)
        return torch.zeros_like(answers).scatter(1, indices, values.relu())

    def top_of_batch(answers):
        """The largest answers of all rows that weigh no more than k a row."""
        row_weights = torch.ones(len(X)) if weight is None else weight[0]
        code, total = torch.zeros_like(answers), 0.0
        for place in answers.flatten().argsort(descending=True).tolist():
            row, atom = divmod(place, H)
            total += float(row_weights[row])
            if total > K * float(row_weights.sum()) + 1e-4:
                return code
            code[row, atom] = answers[row, atom].relu()

    def error(code):
        squares = (code @ atoms - centred).square().mean(1)
        return (squares if weight is None else squares * weight[0].double()).mean()

    atoms = p["decoder"][0]
    centred = X.double() - p["centers"][0]
    code = top(p["scales"][0] * (centred @ atoms.T) + p["bias"][0])
    supervision = 0
    for i, (scales, bias) in enumerate(zip(p["scales"][1:], p["correction_biases"], strict=True)):
        supervision = supervision + SUPERVISION * error(code)
        is_last = i + 2 == len(p["scales"])
        select = top_of_batch if by_batch and is_last else top
        code = select(code + scales * ((centred - code @ atoms) @ atoms.T) + bias)
    loss = error(code)
    (loss + supervision).backward()
    gradients = {name: tensor.grad for name, tensor in p.items() if name != "thresholds"}
    atoms = p["decoder"].detach()
    along = (gradients["decoder"] * atoms).sum(2, keepdim=True)
    gradients["decoder"] -= along * atoms  # which the unit norm undoes
    return float(loss.detach()), gradients


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_corrections", [1, 3])
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_gradients_are_those_of_autograd(n_corrections, weighted, fused, threshold):
    p, X = parameters(n_corrections, threshold=threshold), rows()
    weight = weights(len(X)) if weighted else None
    loss, expected = by_autograd(p, X, weight)
    model = DeepModel(p, k=K, fused=fused)
    result, gradients = model.gradients(Batch(X, weight), Objective())
    assert float(result.loss) == pytest.approx(loss, rel=1e-5)
    for name in NAMES:
        largest_value = float(expected[name].abs().max())
        np.testing.assert_allclose(
            getattr(gradients, name).numpy(), expected[name].numpy(),
            atol=1e-5 * largest_value, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
def test_layers_that_correct_nothing_leave_the_code_of_the_first(fused):
    p, X = parameters(), rows()
    p.scales[0], p.scales[1:], p.correction_biases[:] = 1, 0, 0
    linear = LinearModel(
        Parameters(p.decoder, None, p.bias, p.centers), k=K, fused=fused
    )  # fmt: skip
    np.testing.assert_array_equal(
        dense(DeepModel(p, k=K, fused=fused).encode(X)), dense(linear.encode(X))
    )


def test_new_layers_are_steps_of_the_atoms():
    p = parameters()
    p.bias[0, 3] = -1e9  # on purpose
    linear = Parameters(p.decoder, None, p.bias, p.centers)
    deep = unrolled(linear, 2, step=0.25)
    np.testing.assert_array_equal(deep.scales, np.tile([[1], [0.25], [0.25]], H))
    expected = np.where(np.arange(H) == 3, np.float32(-1e9), 0)
    np.testing.assert_array_equal(deep.correction_biases, [expected, expected])


@pytest.mark.parametrize("fused", [True, False])
def test_training_lowers_the_loss_and_keeps_unit_norm(fused):
    model, X = DeepModel(parameters(), k=K, fused=fused), rows(200)
    losses = [float(model.step(Batch(X), Objective(), 0.01).loss) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]
    norms = torch.linalg.vector_norm(model.parameters.decoder, dim=2)
    np.testing.assert_allclose(norms.numpy(), 1, atol=1e-6)
    assert model.n_steps == 60
    assert (model.counts.fired.sum(1) <= 60 * 200 * K).all()


def test_a_row_of_weight_2_counts_as_two():
    X = rows(10)
    weight = torch.ones(1, 10)
    weight[0, 0] = 2
    weighted, repeated = (DeepModel(parameters(), k=K) for _ in range(2))
    one = weighted.gradients(Batch(X, weight * 10 / 11), Objective())[1]
    other = repeated.gradients(Batch(torch.cat([X[:1], X])), Objective())[1]
    for name in NAMES:
        expected = getattr(other, name).numpy()
        np.testing.assert_allclose(
            getattr(one, name).numpy(), expected, atol=1e-5 * np.abs(expected).max()
        )


def test_values_fitted_anew_leave_no_more():
    model, X = DeepModel(parameters(), k=K), rows(100)
    before, after = model.encode(X), Refit(model, len(X)).encode(X)
    np.testing.assert_array_equal(before.indices, after.indices)
    left = [(X - model.decode(active)).square().sum(1) for active in (before, after)]
    assert (left[1] <= left[0] + 1e-5).all()


def test_threads_give_the_same_bits(monkeypatch):
    X = rows(400)
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr("skl_sae._engine._threads.allowed_threads", lambda n=n_threads: n)
        monkeypatch.setattr("skl_sae._engine._threads.SHARED_PRODUCT", 2**8)
        monkeypatch.setattr("skl_sae._engine._threads.SHARED_SIZE", 2**8)
        model = DeepModel(parameters(), k=K)
        for _ in range(3):
            model.step(Batch(X), Objective(), 0.01)
        codes = [model.encode(X)]
        model.expect(len(X))
        codes.append(model.encode(X))
        arrays = [part.numpy() for active in codes for part in active]
        results.append([*model.arrays().named().values(), *arrays])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
