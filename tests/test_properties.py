"""Whatever array or file comes: an answer that is right, or the documented error."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from skl_sae import ImageLoader, ImageLoadError, ModelFileError, TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

# The first example compiles, and the same examples are tried wherever this runs.
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

DTYPES = st.one_of(
    hnp.floating_dtypes(endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
)


def small_elements(dtype):
    if dtype.kind == "f":
        return {"elements": st.floats(-100, 100, width=min(64, 8 * dtype.itemsize))}
    return {}


@st.composite
def layouts(draw):
    """Rows of many kinds, as other packages hand them on: strided, turned round, read-only."""
    dtype = draw(DTYPES)
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8))
    steps = draw(st.tuples(*[st.sampled_from([-2, -1, 1, 2])] * 2))
    stored = tuple(n * abs(step) for n, step in zip(shape, steps, strict=True))
    if dtype.kind == "f" and dtype.itemsize > 8:
        rows = draw(hnp.arrays(np.float64, stored, **small_elements(np.dtype(float)))).astype(dtype)
    else:
        rows = draw(hnp.arrays(dtype, stored, **small_elements(dtype)))
    rows = np.asarray(rows, order=draw(st.sampled_from("CF")))
    rows = rows[:: steps[0], :: steps[1]]
    rows.flags.writeable = draw(st.booleans())
    return rows


@QUICK
@given(layouts(), st.integers(1, 3))
def test_any_layout_codes_as_its_plain_copy(rows, k):
    sae = TopKSparseAutoencoder(3, k=k, max_iter=1, batch_size=4, random_state=0, device="cpu")
    plain = np.ascontiguousarray(rows).astype(np.float32)
    before = rows.copy()
    codes = sae.fit(rows).transform(rows)
    np.testing.assert_array_equal(rows, before)
    assert codes.shape == (len(rows), 3) and codes.dtype == np.float32
    assert np.isfinite(codes.data).all() and (codes.data > 0).all()
    assert codes.getnnz(axis=1).max() <= k
    for name in ("components_", "encoder_bias_", "centers_"):
        assert np.isfinite(getattr(sae, name)).all()
    assert (sae.transform(plain) != codes).nnz == 0
    assert sae.inverse_transform(codes).shape == rows.shape


@QUICK
@given(hnp.arrays(st.sampled_from([np.float32, np.float64]), (5, 4)))
def test_any_numbers_fit_or_are_refused(rows):
    """Also those that are huge, tiny or no numbers at all."""
    sae = TopKSparseAutoencoder(4, k=2, max_iter=2, batch_size=2, random_state=0, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            sae.fit(rows)
        except ValueError as error:
            words = "NaN", "infinity", "diverged"
            assert any(word in str(error) for word in words)
            assert not hasattr(sae, "components_")
            return
    assert np.isfinite(sae.components_).all()
    assert np.isfinite(sae.transform(rows).data).all()


@QUICK
@given(hnp.arrays(np.float32, (3, 12), elements=st.floats(-10, 10, width=32)), st.randoms())
def test_rows_are_coded_one_by_one(rows, random):
    """The code of a row depends on nothing but the row."""
    sae = fitted()
    order = list(range(3))
    random.shuffle(order)
    codes = sae.transform(rows).toarray()
    np.testing.assert_allclose(sae.transform(rows[order]).toarray(), codes[order], atol=1e-4)


def fitted(cache={}):  # noqa: B006
    if not cache:
        rows = np.random.default_rng(0).random((60, 12), dtype=np.float32)
        cache["sae"] = TopKSparseAutoencoder(
            16, k=4, sparsity="batch_topk", random_state=0, device="cpu"
        ).fit(rows)
    return cache["sae"]


@QUICK
@given(st.binary(max_size=300))
def test_any_bytes_are_no_model(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        TopKSparseAutoencoder.load(path)


# --- Mutated image files ---

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def pictures():
    rows = load_photographs(1, (24, 32)).data[0].reshape(24, 32, 3)
    picture = Image.fromarray((255 * rows).astype(np.uint8))
    for name in FORMATS:
        content = io.BytesIO()
        picture.save(content, name)
        yield name, content.getvalue()


def mutated(content, rng):
    """Flipped bits, other bytes, a cut, a piece lost, doubled or moved."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = rng.integers(len(content))
        length = rng.integers(1, 1 + min(64, len(content) - place))
        piece = content[place : place + length]
        kind = rng.integers(6)
        if kind == 0:
            content[place] ^= 1 << rng.integers(8)
        elif kind == 1:
            content[place : place + length] = rng.bytes(length)
        elif kind == 2:
            del content[max(1, place) :]
        elif kind == 3 and len(content) > length:
            del content[place : place + length]
        elif kind == 4:
            content[place:place] = piece
        else:
            other = rng.integers(len(content))
            content[other : other + length] = piece
    return bytes(content)


@pytest.mark.parametrize("name, content", list(pictures()), ids=FORMATS)
def test_fault_61_mutated_pictures(tmp_path, name, content):
    """Fifty mutations of each format give rows in [0, 1], or an error that names the file."""
    rng, loader = np.random.default_rng(0), ImageLoader((8, 8), max_pixels=10**6)
    path, refused = tmp_path / f"picture.{name.lower()}", 0
    for _ in range(50):
        path.write_bytes(mutated(content, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, of damaged tags; and of frames
            try:
                rows = loader.fit_transform([path])
            except ImageLoadError as error:
                assert str(path) in str(error)
                refused += 1
            else:
                assert rows.shape == (1, 192) and rows.min() >= 0 and rows.max() <= 1
    assert refused  # or the mutations are too mild
