"""Labels of atoms, and lines of Python, as the report's data have them."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from pages import DIGITS, X, fitted, page_data
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skl_sae
from skl_sae import ConvTopKSparseAutoencoder
from skl_sae.inspection import atom_activations
from skl_sae.report import SAEReport


def labels_of(sae, labels):
    return page_data(SAEReport(sae, X[:5], image_shape=(8, 8), labels=labels).html())["labels"]


def test_labels_are_a_dict_or_a_file(sae, tmp_path):
    given = {np.int64(17): " an edge ", "3": "é </script>", 5: "  "}
    expected = {"3": "é </script>", "17": "an edge"}
    assert labels_of(sae, given) == expected
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(expected, ensure_ascii=False), encoding="utf-8")
    assert labels_of(sae, path) == labels_of(sae, str(path)) == expected
    assert labels_of(sae, None) == labels_of(sae, {}) == {}


@pytest.mark.parametrize(
    ("labels", "match"),
    [({48: "x"}, "from 0 to 47, got 48"), ({-1: "x"}, "from 0 to 47, got -1"),
     ({"-1": "x"}, "numbers of atoms as keys of labels, got '-1'"), ({True: "x"}, "got True"),
     ({1.0: "x"}, "got 1.0"), ({"9" * 5000: "x"}, "got 99999999999999999999"),
     ({1: 2}, "text as the label of atom 1, got 2")],
)  # fmt: skip
def test_labels_that_are_none(sae, labels, match):
    with pytest.raises(ValueError, match=match):
        labels_of(sae, labels)


def test_files_that_hold_no_labels(sae, tmp_path):
    path = tmp_path / "labels.json"
    with pytest.raises(FileNotFoundError):
        labels_of(sae, path)
    for content, match in (("[1]", "got a list"), ("{", "as JSON")):
        path.write_text(content)
        with pytest.raises(ValueError, match=match):
            labels_of(sae, path)


def test_a_browser_keeps_labels_by_model_and_given_labels(sae):
    def key(model, **arguments):
        return page_data(SAEReport(model, X[:5], image_shape=(8, 8), **arguments).html())["key"]

    assert key(sae) == key(sae, filenames=list("abcde")) == key(sae, labels={})
    assert len({key(sae), key(sae, labels={1: "a"}), key(fitted(max_iter=1))}) == 3


# --- Lines of Python ---


def dense(codes):
    """Codes of one atom, of whatever kind, as an array; of several places with a column each."""
    codes = codes.toarray() if sp.issparse(codes) else np.asarray(codes)
    return codes.reshape(len(codes), -1).squeeze()


def check_lines(python, names, n_codes):
    """The lines give the atom of column 1 and the image of row 2."""
    atom, codes = (eval(line.format(n=1, next=2), names) for line in python["atom"][:2])
    image, coded = (eval(line.format(n=2, next=3), names) for line in python["image"])
    array = eval(python["codes"].format(n=2, next=3), names)
    assert isinstance(array, np.ndarray) and array.shape == coded.shape == (1, n_codes)
    return np.asarray(atom), codes, np.asarray(image)


@pytest.mark.parametrize(
    "parameters", [{}, {"aggregate": "mean"}, {"sparse_output": False}], ids=str
)
def test_lines_give_what_is_shown(parameters):
    sae = fitted(**parameters)
    report = SAEReport(sae, X, image_shape=(8, 8))
    python, codes = page_data(report.html())["python"], sae.transform(X)
    atom, column, image = check_lines(
        python, {"sae": sae, "X": X, "codes": codes, "np": np}, codes.shape[1]
    )
    np.testing.assert_allclose(atom, report._findings.reading.subject.atoms[1], rtol=1e-6)
    np.testing.assert_array_equal(dense(column), dense(codes)[:, 1])
    np.testing.assert_array_equal(image, X[2])


def test_lines_for_dataframes_and_pipelines(sae):
    frame = pd.DataFrame(X, index=np.arange(len(X)) + 0.5)
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / 2), fitted())
    python = page_data(SAEReport(sae, frame, image_shape=(8, 8)).html())["python"]
    names = {"sae": sae, "X": frame, "codes": sae.transform(X)}
    np.testing.assert_array_equal(check_lines(python, names, 48)[2], X[2])
    python = page_data(SAEReport(pipeline, X, image_shape=(8, 8)).html())["python"]
    names = {"sae": pipeline[-1], "X": pipeline[:-1].transform(X), "codes": pipeline.transform(X)}
    np.testing.assert_array_equal(check_lines(python, names, 48)[2], X[2] / 2)
    assert "its last step and what that step is given" in python["names"]


def test_lines_for_small_atoms():
    sae = ConvTopKSparseAutoencoder(
        6, kernel_size=4, k=20, pooling=2, max_iter=1, random_state=0, device="cpu"
    ).fit(DIGITS.images[:40])
    wide = np.concatenate([DIGITS.images[:6], DIGITS.images[6:12]], axis=2)
    report = SAEReport(sae, wide)
    python = page_data(report.html())["python"]
    assert (
        "copy.copy(estimator).set_params(pooling=None, image_shape=(8, 16, 1))" in python["names"]
    )
    unpooled = copy.copy(sae).set_params(pooling=None, image_shape=(8, 16, 1))
    codes = unpooled.transform(wide)
    names = {"sae": unpooled, "X": wide, "codes": codes}
    atom, column, image = check_lines(python, names, codes.shape[1])
    np.testing.assert_array_equal(atom, sae.components_[1])
    assert column.shape == (6, codes.shape[1] // 6)
    np.testing.assert_array_equal(image, wide[2])
    shown = eval(python["atom"][2].format(n=1), names | {"skl_sae": skl_sae})
    expected = dense(atom_activations(unpooled, codes))[:, 1]
    np.testing.assert_array_equal(dense(shown).ravel(), expected)
    np.testing.assert_array_equal(dense(column).max(axis=1), expected)
