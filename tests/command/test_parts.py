"""The parts of the command: a model is fitted once, and applied, shown and converted."""

import csv
import os
import re
import webbrowser

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image
from sklearn.pipeline import Pipeline, make_pipeline

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageLoader,
    TopKSparseAutoencoder,
    find_images,
    load,
    save,
)
from skl_sae import __main__ as command
from skl_sae.datasets import make_cells
from skl_sae.interop import from_saelens
from skl_sae.metrics import fraction_of_variance_unexplained

FITTED = ["--n-components", "16", "--k", "3", "--members", "2", "--epochs", "1", "--size", "10x8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of images to learn, one of others, and what fit has written, silently."""
    folder = tmp_path_factory.mktemp("command")
    make_cells(folder / "cells", n_samples=20, size=24)
    make_cells(folder / "new", n_samples=6, size=30, random_state=1)
    arguments = ["fit", str(folder / "cells"), *FITTED, "--mode", "L", "--aspect", "pad"]
    assert command.main([*arguments, "--quiet", "--output", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def model(folder):
    return str(folder / "out" / "model.safetensors")


def run(*arguments):
    """Exit status, also where the parser ends the process."""
    try:
        return command.main(list(map(str, arguments)))
    except SystemExit as exit:
        return exit.code


def test_a_model_is_a_pipeline_that_knows_how_images_are_loaded(folder, model):
    pipeline = load(model)
    assert type(pipeline) is Pipeline
    loader = pipeline[0]
    assert (loader.size, loader.mode, loader.aspect) == ((10, 8), "L", "pad")
    assert pipeline[-1].image_shape_ == (10, 8)
    assert pipeline.target_names_ == ["round", "spindle"]
    images = find_images(folder / "cells")
    codes = sp.load_npz(folder / "out" / "codes.npz")
    assert (pipeline.transform(images.filenames) != codes).nnz == 0
    with open(folder / "out" / "images.csv", newline="") as file:
        held_out = [line["held_out"] == "1" for line in csv.DictReader(file)]
    figures, X = pipeline.held_out_, loader.transform(images.filenames[held_out])
    assert (figures["n_learned"], figures["n_images"]) == (16, 4)
    assert figures["n_active"] == codes[held_out].nnz / 4
    assert figures["correlation"] == pytest.approx(pipeline[-1].score(X), abs=1e-6)
    reconstruction = pipeline[-1].inverse_transform(codes[held_out])
    fvu = fraction_of_variance_unexplained(X, reconstruction, pipeline[-1]._offset)
    assert figures["fvu"] == pytest.approx(fvu, rel=1e-6)


def test_quiet_is_silent(folder, model, tmp_path, capsys):
    for arguments in (
        ["fit", folder / "cells", *FITTED, "--output", tmp_path],
        ["transform", model, folder / "new", "--output", tmp_path],
        ["report", model, folder / "new", "--output", tmp_path],
        ["convert", model, tmp_path / "saelens", "--to", "saelens"],
    ):
        assert run(*arguments, "--quiet") == 0
        assert capsys.readouterr() == ("", "")
    assert run("transform", model, tmp_path / "nothing", "--quiet") == 2
    assert "Expected a folder of images" in capsys.readouterr().err


def test_transform(folder, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("transform", model, folder / "new") == 0
    out = capsys.readouterr().out
    output = tmp_path / "skl_sae_output" / "new"
    assert "6 codes of 32 numbers" in out and "skl_sae_output/new" in out
    images, pipeline = find_images(folder / "new"), load(model)
    codes = sp.load_npz(output / "codes.npz")
    assert codes.format == "csr" and (pipeline.transform(images.filenames) != codes).nnz == 0
    with open(output / "codes.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["filename"] for line in lines] == images.filenames.tolist()
    assert [line["class"] for line in lines] == ["round"] * 3 + ["spindle"] * 3
    X = pipeline[0].transform(images.filenames)
    correlations = [float(line["correlation"]) for line in lines]
    np.testing.assert_allclose(correlations, pipeline[-1].score_samples(X), atol=1e-4)
    for line, row in zip(lines, codes, strict=True):
        pairs = [pair.split(":") for pair in line["codes"].split()]
        assert int(line["active"]) == len(pairs) == row.nnz
        values = [float(value) for _, value in pairs]
        assert values == sorted(values, reverse=True)
        np.testing.assert_allclose(row.toarray()[0, [int(c) for c, _ in pairs]], values, rtol=1e-5)


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_unreadable_files_as_on_error_says(folder, model, tmp_path, capsys, on_error):
    make_cells(tmp_path / "new", n_samples=4, size=16)
    (tmp_path / "new" / "round" / "broken.png").write_text("no image")
    for part, name in (("transform", "codes.csv"), ("report", "report.html")):
        output = tmp_path / part
        arguments = [part, model, tmp_path / "new", "--output", output, "--on-error", on_error]
        assert run(*arguments) == (0 if on_error == "warn" else 2)
        error = capsys.readouterr().err
        assert re.search(r"broken\.png.*PNG, JPEG", error)
        assert (output / name).exists() == (on_error == "warn")
        assert error.startswith(
            "python -m skl_sae: " + ("note: 1 unreadable" if on_error == "warn" else "error: ")
        )


@pytest.mark.parametrize("part", ["fit", "transform", "report"])
def test_each_file_is_read_once(folder, model, tmp_path, monkeypatch, part):
    make_cells(tmp_path / "new", n_samples=6, size=16)
    broken = tmp_path / "new" / "round" / "a.png"  # the first: those after it move up
    broken.write_text("no image")
    read, own = [], ImageLoader._read
    monkeypatch.setattr(
        ImageLoader, "_read", lambda loader, path, row: read.append(path) or own(loader, path, row)
    )
    arguments = [*FITTED, "--quiet"] if part == "fit" else ["--quiet"]
    output = ["--output", tmp_path / "out"]
    given = [tmp_path / "new"] if part == "fit" else [model, tmp_path / "new"]
    assert run(part, *given, *arguments, *output) == 0
    first, *files = find_images(tmp_path / "new").filenames
    assert first == str(broken) and sorted(read) == [first, *files]
    if part == "transform":
        pipeline = load(model)
        expected = pipeline.transform(files)
        assert (sp.load_npz(tmp_path / "out" / "codes.npz") != expected).nnz == 0
        with open(tmp_path / "out" / "codes.csv", newline="") as table:
            lines = list(csv.DictReader(table))
        assert [line["filename"] for line in lines] == files
        assert [line["row"] for line in lines] == list(map(str, range(6)))
        assert [line["class"] for line in lines] == ["round"] * 3 + ["spindle"] * 3


def test_nothing_readable_is_an_error(model, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.png").write_text("no image")
    for part in ("transform", "report"):
        assert run(part, model, tmp_path / "new", "--output", tmp_path / "out") == 2
        assert re.search(r"found none; 1 unreadable file.*a\.png", capsys.readouterr().err)
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_report_has_the_figures_that_are_printed(folder, model, tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    (tmp_path / "new").mkdir()
    for name in ("round", "third"):  # a class that the model does not know
        os.symlink(folder / "new" / "round", tmp_path / "new" / name)
    make_cells(tmp_path / "new", n_samples=4, size=16)
    os.rename(tmp_path / "new" / "spindle", tmp_path / "new" / "odd")
    arguments = ["report", model, tmp_path / "new", "--output", tmp_path / "out", "--open"]
    assert run(*arguments) == 0
    out, error = capsys.readouterr()
    assert opened == [(tmp_path / "out" / "report.html").as_uri()]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    *_, figures = (line.split() for line in out.splitlines() if re.match(r"\d+ +0\.", line))
    n_images, correlation, fvu = figures
    assert f"{n_images} grey images of 10x8 pixels" in page
    assert f"<dd>{correlation}</dd>" in page and f"<dd>{fvu}</dd>" in page
    assert "not learned, such as 'odd'" in error


def test_a_folder_with_a_model_is_as_good_as_the_file(folder, capsys):
    assert run("info", folder / "out") == 0
    assert str(folder / "out" / "model.safetensors") in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("columns", [40, 80])
def test_info(model, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run("info", model) == 0
    out = capsys.readouterr().out  # nothing else is said there
    assert all(len(line) <= columns for line in out.splitlines())
    words, held_out = " ".join(out.split()), load(model).held_out_
    for text in (
        "Pipeline of ImageLoader, TopKSparseAutoencoder", "grey, 10x8 pixels, others: pad",
        "2 members of 16 atoms, k = 3 each; 80 features", "n_estimators=2", "2: round, spindle",
        "16 images", f"correlation {held_out['correlation']:.4f}, FVU {held_out['fvu']:.4f}",
    ):  # fmt: skip
        assert text in words
    checksum = re.search(r"sha256:([0-9a-f ]+)$", words)[1]
    assert len(checksum.replace(" ", "")) == 64


@pytest.mark.parametrize("name", ["saelens", "sparsify", "dictionary-learning", "saev"])
def test_convert_there_and_back(folder, model, tmp_path, capsys, name):
    assert run("convert", model, tmp_path / "theirs", "--to", name, "--member", "1") == 0
    assert "no place for ImageLoader" in capsys.readouterr().err
    assert run("convert", tmp_path / "theirs", tmp_path / "back.safetensors") == 0
    sae, back = load(model)[-1], load(tmp_path / "back.safetensors")
    X = load(model)[0].transform(find_images(folder / "new").filenames)
    ours, again = sae.transform(X)[:, 16:].toarray(), back.transform(X).toarray()
    np.testing.assert_allclose(again, ours, atol=1e-5)
    assert run("info", tmp_path / "back.safetensors") == 0
    assert "by another library" in capsys.readouterr().out


def test_convert_takes_the_first_member_with_a_note(model, tmp_path, capsys):
    assert run("convert", model, tmp_path / "theirs", "--to", "saelens") == 0
    assert "Member 0 of 2" in capsys.readouterr().err
    atoms = load(model)[-1].components_[:16]
    np.testing.assert_allclose(from_saelens(tmp_path / "theirs").components_, atoms, atol=1e-6)


def test_members_and_stages_are_reported_and_converted(folder, tmp_path, capsys):
    files = find_images(folder / "new").filenames
    flat = TopKSparseAutoencoder(8, k=2, n_estimators=2, max_iter=1)
    for name, ensemble in [
        ("bagging", BaggingSparseAutoencoder(flat, 2, random_state=0)),
        ("boosting", BoostingSparseAutoencoder([("a", flat), ("b", flat)], random_state=0)),
    ]:
        pipeline = make_pipeline(ImageLoader((10, 8), "L"), ensemble).fit(files)
        save(pipeline, tmp_path / name)
        output = tmp_path / f"{name}_report"
        assert run("report", tmp_path / name, folder / "new", "--output", output) == 0
        correlation = pipeline.score(files)
        assert f"{correlation:.4f}" in capsys.readouterr().out
        theirs = tmp_path / f"{name}_theirs"
        assert run("convert", tmp_path / name, theirs, "--to", "saelens", "--member", "3") == 0
        error = capsys.readouterr().err
        assert ("stages that add up" in error) == (name == "boosting")
        assert "no place for ImageLoader, which is left out" in error
        np.testing.assert_allclose(
            from_saelens(theirs).components_, ensemble.estimators_[1].components_[8:], atol=1e-6
        )
        assert run("convert", tmp_path / name, theirs, "--to", "saelens", "--member", "4") == 2
        assert "Expected at most 3, got 4" in capsys.readouterr().err


def test_models_that_do_not_suit(folder, model, tmp_path, capsys):
    files = find_images(folder / "new").filenames
    X = load(model)[0].transform(files)
    alone = TopKSparseAutoencoder(8, k=2, max_iter=1, random_state=0).fit(X)
    alone.save(tmp_path / "alone")
    two = TopKSparseAutoencoder(8, k=2, max_iter=1, random_state=0)
    two.fit(alone.set_params(sparse_output=False).transform(X))
    save(make_pipeline(ImageLoader((10, 8), "L"), alone, two), tmp_path / "two")
    hidden = DeepTopKSparseAutoencoder(8, k=2, max_iter=1, random_state=0,
                                       decoder_hidden_layer_sizes=(4,))  # fmt: skip
    save(make_pipeline(ImageLoader((10, 8), "L"), hidden).fit(files), tmp_path / "hidden")
    small = ConvTopKSparseAutoencoder(4, image_shape=(10, 8), kernel_size=4, max_iter=1)
    small = BaggingSparseAutoencoder(small, 2, random_state=0)
    save(make_pipeline(ImageLoader((10, 8), "L"), small).fit(files), tmp_path / "small")
    (tmp_path / "text").write_text("no model")
    (tmp_path / "folder").mkdir()
    new, out = folder / "new", tmp_path / "new"
    for arguments, match in [
        (["transform", tmp_path / "alone", new], "MODEL: Expected a Pipeline that begins with"),
        (["report", tmp_path / "two", new], "MODEL: Expected an ImageLoader and one autoencoder"),
        (["report", tmp_path / "hidden", new], "MODEL: SAEReport adds up .*one with hidden layers"),
        (["report", tmp_path / "small", new], "MODEL: Expected an ensemble whose .*estimators_.i."),
        (["convert", tmp_path / "two", out, "--to", "saev"], "IN: Expected a Pipeline with one"),
        (["convert", tmp_path / "hidden", out, "--to", "saev"], "several layers. skl_sae.save"),
        (["convert", tmp_path / "small", out, "--to", "saev"], "small atoms at many places are no"),
        (["info", tmp_path / "text"], "Expected a model file"),
        (["info", tmp_path / "none"], "MODEL: Expected a model's file, got nothing there"),
        (["info", tmp_path / "folder"], "MODEL: Expected a model's file, got nothing there"),
        (["transform", model, new, "--device", "cuda:99"], "--device: Expected a device"),
        (["transform", model, tmp_path / "text"], "FOLDER: Expected a folder of images"),
        (["transform", model], "Expected FOLDER, got nothing"),
        (["report", model, new, "--on-error", "x"], "--on-error: Expected warn or raise, got 'x'"),
        (["report", model, new, "--bogus"], "Expected options that .* lists, got --bogus"),
        (["convert", tmp_path / "none", out], "IN: Expected a model's file or folder"),
        (["convert", tmp_path / "folder", out], "IN: Expected a folder with one of .*none of"),
        (["convert", model, out], "--to: Expected another format than that of IN"),
        (["convert", model, tmp_path / "text", "--to", "saev"], "OUT: Expected a folder, got the"),
        (["convert", model, out, "--to", "onnx"], "--to: Expected saelens or .*, got 'onnx'"),
        (["convert", model, out, "--to", "saev", "--member", "2"], "--member: Expected at most 1"),
    ]:  # fmt: skip
        assert run(*arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert re.match(rf"python -m skl_sae: error: (argument )?(\S+: )?.*{match}", error), error
        assert not out.exists()
    assert run("transform", tmp_path / "two", new, "--output", out, "--quiet") == 0
    with open(out / "codes.csv", newline="") as file:
        assert {line["correlation"] for line in csv.DictReader(file)} == {""}


def test_help_and_version(capsys):
    assert run("--version") == 0
    assert re.fullmatch(r"skl-sae \d.*\n", capsys.readouterr().out)
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("transform", "convert", "--n-components", "--conv"))
    for part in ("fit", "transform", "report", "info", "convert"):
        assert run(part, "--help") == 0
        assert f"usage: python -m skl_sae {part}" in capsys.readouterr().out


def test_one_autoencoder_is_no_ensemble(folder, tmp_path, capsys):
    arguments = [folder / "cells", *FITTED, "--members", "1", "--output", tmp_path]
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert "ensemble" not in out and "member" not in out
    table = out.partition("Held out ")[2].splitlines()[1:3]
    (name, *figures), (*pca, n_active) = (line.split() for line in table)
    held_out = load(tmp_path / "model.safetensors").held_out_
    expected = [f"{held_out[n]:.4f}" for n in ("correlation", "fvu")]
    assert (name, figures) == ("autoencoder", [*expected, "3"])
    assert (pca[:3], n_active) == (["PCA,", "3", "components"], "3")


def test_images_of_one_tone_have_no_correlation(tmp_path, capsys):
    (tmp_path / "tones").mkdir()
    for i in range(4):
        Image.new("L", (8, 8), 50 * i).save(tmp_path / "tones" / f"{i}.png")
    arguments = [tmp_path / "tones", *FITTED, "--mode", "L", "--output", tmp_path / "out"]
    assert run(*arguments) == 0
    out, error = capsys.readouterr()
    assert "1 of 1 images held out are one tone" in error
    table = out.partition("Held out ")[2].splitlines()[1:]
    assert table[0].split()[:2] == ["ensemble", "undefined"]
    # There are no more directions than images that were learned, so no second PCA.
    assert sum(line.startswith("PCA") for line in table) == 1
    held_out = load(tmp_path / "out" / "model.safetensors").held_out_
    assert held_out["correlation"] is None and held_out["fvu"] >= 0
    assert run("info", tmp_path / "out") == 0
    assert "correlation undefined" in " ".join(capsys.readouterr().out.split())


def test_pooled_codes_of_a_last_stage_are_written_with_correlations(folder, tmp_path):
    files = find_images(folder / "cells").filenames
    small = ConvTopKSparseAutoencoder(4, image_shape=(10, 8), kernel_size=4, pooling=2, max_iter=1)
    stages = [("flat", TopKSparseAutoencoder(8, k=2, max_iter=1)), ("small", small)]
    boosting = BoostingSparseAutoencoder(stages, random_state=0)
    pipeline = make_pipeline(ImageLoader((10, 8), "L"), boosting)
    save(pipeline.fit(files), tmp_path / "pooled.safetensors")
    assert run("transform", tmp_path / "pooled.safetensors", folder / "new",
               "--output", tmp_path / "out", "--quiet") == 0  # fmt: skip
    with open(tmp_path / "out" / "codes.csv", newline="") as table:
        correlations = [float(row["correlation"]) for row in csv.DictReader(table)]
    rows = pipeline[0].transform(find_images(folder / "new").filenames)
    np.testing.assert_allclose(correlations, pipeline[1].score_samples(rows), atol=1e-4)
