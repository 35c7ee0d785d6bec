"""The loader as a transformer, and what it takes of the machine."""

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_files import save
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ImageLoader, TopKSparseAutoencoder
from skl_sae.datasets import make_cells


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return make_cells(tmp_path_factory.mktemp("cells"), n_samples=16, size=48)


def test_kinds_of_columns(cells):
    loader = ImageLoader((8, 8), "L")
    paths = cells.filenames.tolist()
    expected = loader.fit_transform(paths)
    assert expected.dtype == np.float32
    for same in (
        cells.filenames,
        np.array(paths),
        np.array(paths)[:, None],
        pd.Series(paths),
        pd.DataFrame({"path": paths}),
        [Path(path) for path in paths],
    ):
        np.testing.assert_array_equal(loader.fit_transform(same), expected)
    np.testing.assert_array_equal(ImageLoader((8, 8), "L", n_jobs=2).fit_transform(paths), expected)


@pytest.mark.parametrize("bad", ["a.png", [], [1], [["a", "b"]], [None]])
def test_no_paths(bad):
    with pytest.raises(ValueError, match="Expected"):
        ImageLoader().fit_transform(bad)


@pytest.mark.parametrize(
    "parameter",
    [
        {"size": (8,)},
        {"size": (0, 8)},
        {"size": None},
        {"mode": "CMYK"},
        {"aspect": "x"},
        {"max_pixels": 0},
    ],
)
def test_bad_parameters_and_fault_70(cells, parameter):
    """Without a size, files of mixed sizes would have to be refused; so there is always one."""
    with pytest.raises(ValueError, match=next(iter(parameter))):
        ImageLoader(**parameter).fit(cells.filenames)


def test_contract(cells):
    loader = ImageLoader((4, 6)).fit(cells.filenames)
    assert clone(loader).get_params() == loader.get_params()
    rows = pickle.loads(pickle.dumps(loader)).transform(cells.filenames)
    images = loader.inverse_transform(rows)
    assert images.shape == (16, 4, 6, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images.reshape(16, -1) / np.float32(255), rows)
    names = loader.get_feature_names_out()
    assert len(set(names)) == 72
    assert names[:4].tolist() == ["pixel_0_0_r", "pixel_0_0_g", "pixel_0_0_b", "pixel_0_1_r"]
    frame = loader.set_output(transform="pandas").transform(cells.filenames)
    assert list(frame.columns) == names.tolist()
    with pytest.raises(ValueError, match=r"72.*71"):
        loader.inverse_transform(rows[:, 1:])


def test_progress_bar_only_when_asked(cells, capsys):
    ImageLoader().fit_transform(cells.filenames)
    assert capsys.readouterr() == ("", "")
    ImageLoader(verbose=1).fit_transform(cells.filenames)
    assert "Loading" in capsys.readouterr().err


def test_from_files_to_a_classifier(cells, tmp_path):
    pipeline = make_pipeline(
        ImageLoader((16, 16), "L"),
        TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0),
        LogisticRegression(max_iter=500),
        memory=str(tmp_path),
    )
    assert pipeline.fit(cells.filenames, cells.target).score(cells.filenames, cells.target) > 0.8
    search = GridSearchCV(
        pipeline[:2],
        {
            "imageloader__size": [(8, 8), (16, 16)],
            "topksparseautoencoder__k": [1, 8],
            "topksparseautoencoder__n_components": [16, 32],
        },
        cv=2,
    ).fit(cells.filenames.tolist())
    assert search.best_params_["topksparseautoencoder__k"] == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_column_transformer(cells):
    frame = pd.DataFrame({"path": cells.filenames, "age": np.arange(16.0)})
    images = make_pipeline(
        ImageLoader((8, 8), "L"), TopKSparseAutoencoder(16, k=2, max_iter=1, random_state=0)
    )
    columns = ColumnTransformer([("image", images, ["path"]), ("age", StandardScaler(), ["age"])])
    assert columns.fit_transform(frame).shape == (16, 17)


# --- Files and memory ---


def test_fault_84_more_files_than_descriptors(tmp_path):
    paths = [save(tmp_path / f"{i}.png") for i in range(150)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        rows = ImageLoader((2, 2), n_jobs=2).fit_transform(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(rows) == 150


MEASURE_PEAK = """
import re, sys
from pathlib import Path
from skl_sae import ImageLoader

def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

n_jobs, *paths = sys.argv[1:]
loader = ImageLoader((64, 64), n_jobs=int(n_jobs))
loader.fit_transform(paths[:1])
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
loader.fit_transform(paths[1:])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells peaks")
@pytest.mark.parametrize(
    "suffix, mode", [("png", "RGB"), ("png", "RGBA"), ("png", "P"), ("tif", "L")]
)
def test_fault_85_memory_of_one_thread(tmp_path, suffix, mode):
    """The output, and at most two decoded pictures: as it is, and in its true colours."""
    side, n_files = 2500, 4
    image = Image.new("RGB", (side, side), (10, 20, 30)).convert(mode)
    small = save(tmp_path / f"small.{suffix}")
    large = save(tmp_path / f"large.{suffix}", image)
    for i in range(n_files):
        os.link(large, tmp_path / f"{i}.{suffix}")
    paths = [small, *(str(tmp_path / f"{i}.{suffix}") for i in range(n_files))]
    command = [sys.executable, "-c", MEASURE_PEAK, "1", *paths]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    decoded, output = 4 * side**2, 4 * n_files * 64 * 64 * 3
    assert int(result.stdout) < 2.1 * decoded + output
