"""Images that the command learns: of a folder, or crops of photographs."""

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from .. import ImageLoader
from ..datasets import load_photographs
from ..images._finder import search_images


def photographs(options, progress):
    """Return crops of the two photographs: 800 to learn, followed by 200 held out."""
    progress.begin("Cutting crops of the photographs")
    train, test = (
        load_photographs(n, options.size, options.mode, subset=subset, random_state=options.seed)
        for n, subset in ((800, "train"), (200, "test"))
    )
    shape = "x".join(map(str, train.image_shape))
    return Bunch(
        data=np.concatenate([train.data, test.data]),
        target=None,
        image_shape=train.image_shape,
        seed=options.seed,
        train=np.arange(800),
        test=np.arange(800, 1000),
        description=f"{len(train.data)} photograph crops of {shape} to learn, {len(test.data)} "
        "held out, from parts of the photographs not learned.",
    )


def image_loader(options):
    """Return the loader of the images that are learned."""
    return ImageLoader(options.size, options.mode, aspect=options.aspect, n_jobs=-1)


def folder_images(options, progress):
    """Load the images of a folder, and hold out a fifth, stratified by class if possible."""
    loader = image_loader(options)
    images = loaded(loader, options, progress)
    n = len(images.data)
    if n < 2:
        raise ValueError(f"Expected at least 2 images in {options.folder!r}, found {n}.")
    n_test = max(1, n // 5)
    images.train, images.test = train_test_split(
        np.arange(n),
        test_size=n_test,
        stratify=images.target if _can_stratify(images.target, n_test) else None,
        random_state=options.seed,
    )
    images.image_shape, images.seed = loader._image_shape(), options.seed
    shape = "x".join(map(str, images.image_shape))
    images.description = f"{n} images as {shape}: {n - n_test} to learn, {n_test} held out."
    return images


def loaded(loader, options, progress):
    """Load the images of a folder, without those that cannot be read if that is not an error."""
    found = []

    def read(paths):
        errors = None if options.on_error == "raise" else {}
        progress.begin("Reading images", len(paths))
        # Not transform, whose progress bar and warnings would appear between our lines.
        found.extend(loader._rows(paths, progress.add, errors))
        return without(paths, errors or {})

    images = listed(options, progress, read)
    if not found:
        read(images.filenames)
    images.data, remarks = found
    for remark in remarks:
        progress.note(remark)
    return images


def listed(options, progress, read):
    """List the images of a folder, those that ``read(paths)`` has read if errors are no end."""
    progress.begin("Listing images")
    images, remarks = search_images(options.folder, options.on_error, read)
    for remark in remarks:
        progress.note(remark)
    return images


def without(paths, errors):
    """Return the paths but those of these errors, by index, and the errors in their order."""
    left = [path for i, path in enumerate(paths) if i not in errors]
    return left, [errors[i] for i in sorted(errors)]


def _can_stratify(target, n_test):
    """Return whether each class has a sample to learn and one to hold out."""
    if target is None:
        return False
    counts = np.bincount(target)
    return counts.min() >= 2 and len(counts) <= n_test
