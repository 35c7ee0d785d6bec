"""CodePooling against plain NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from skl_sae import CodePooling


def codes_of_places(n_rows=24, density=0.3, signed=True):
    codes = sp.random(n_rows, 7, density, format="csr", dtype=np.float32, random_state=0)
    if signed:
        codes.data -= 0.5
    return codes


def by_hand(codes, shape, parts, function):
    """Pooled codes of places, a loop over parts; and the names' ends."""
    maps = codes.toarray().reshape(-1, *shape, codes.shape[1])
    down, right = (np.arange(n) * p // n for n, p in zip(shape, parts, strict=True))
    return np.concatenate([
        getattr(maps[:, down == row][:, :, right == column], function)((1, 2))
        for row in range(parts[0]) for column in range(parts[1])
    ], axis=1)  # fmt: skip


@pytest.mark.parametrize("function", ["max", "mean"])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_places", [1, 6, (2, 3), 24])
def test_pooled_codes(n_places, density, function):
    codes = codes_of_places(density=density)
    before = codes.copy()
    shape = (1, n_places) if isinstance(n_places, int) else n_places
    pooled = CodePooling(n_places, function).transform(codes)
    assert sp.issparse(pooled) and pooled.format == "csr" and pooled.dtype == np.float32
    assert pooled.has_canonical_format and (pooled.data != 0).all()
    expected = by_hand(codes, shape, (1, 1), function)
    np.testing.assert_allclose(pooled.toarray(), expected, atol=1e-6)
    dense = CodePooling(n_places, function).transform(codes.toarray())
    np.testing.assert_allclose(dense, expected, atol=1e-6)
    assert (codes != before).nnz == 0


@pytest.mark.parametrize("function", ["max", "mean"])
@pytest.mark.parametrize("parts", [1, 2, (2, 1), (1, 3), (2, 3)])
def test_parts(parts, function):
    codes = codes_of_places()
    pooling = CodePooling((2, 3), function, parts=parts)
    shape = parts if isinstance(parts, tuple) else (parts, parts)
    expected = by_hand(codes, (2, 3), shape, function)
    np.testing.assert_allclose(pooling.fit_transform(codes).toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(pooling.transform(codes.toarray()), expected, atol=1e-6)
    names = pooling.get_feature_names_out([f"a{i}" for i in range(7)])
    assert len(set(names)) == expected.shape[1]
    assert (
        names[6] == "a6_row0_column0" and names[-1] == f"a6_row{shape[0] - 1}_column{shape[1] - 1}"
    )


def test_unsorted_and_repeated_entries_are_taken_as_they_add_up():
    codes = sp.csr_matrix(([1.0, 2.0, 4.0, -1.0], [2, 0, 2, 1], [0, 3, 4]), shape=(2, 3))
    np.testing.assert_array_equal(CodePooling(2).transform(codes).toarray(), [[2, 0, 5]])


def test_no_image_is_torn():
    codes = codes_of_places()
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=r"multiple of n_places=7 rows.*24"):
            getattr(CodePooling(7), method)(codes)
        with pytest.raises(ValueError, match=r"n_places=\(5, 5\)"):
            getattr(CodePooling((5, 5)), method)(codes)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"n_places": 0}, "n_places"), ({"n_places": (2, 0)}, "n_places"),
        ({"n_places": True}, "n_places"), ({"function": "sum"}, "function"),
        ({"parts": 2}, r"n_places=\(rows, columns\)"),
        ({"n_places": (2, 3), "parts": (3, 1)}, r"at most \(2, 3\)"),
    ],
)  # fmt: skip
def test_parameters_are_checked(parameters, text):
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=text):
            getattr(CodePooling(6).set_params(**parameters), method)(codes_of_places())


def test_names_pass_through():
    pooling = CodePooling(6)
    with pytest.raises((NotFittedError, ValueError)):
        pooling.get_feature_names_out()
    pooling.fit(codes_of_places())
    assert list(pooling.get_feature_names_out(list("abcdefg"))) == list("abcdefg")
    with pytest.raises(ValueError, match="features"):
        pooling.transform(sp.csr_matrix((6, 3), dtype=np.float32))


@pytest.mark.touches_globals("NumPy's generator")
def test_scikit_learns_checks():
    check_estimator(CodePooling(1), on_skip=None)
