"""Report on some images, as the command writes it."""

import os
import re

import numpy as np

from .._model_file._atomic import replacing
from ..report import SAEReport
from ._progress import percent

# Shares of the time that parts of the report take, which keeps them, and that its page takes.
_PARTS, _PAGE = {"summary": 4, "measures": 5, "models": 1}, 14


def write_report(sae, images, chosen, options, progress):
    """Write the report on some of the images, with names relative to the folder.

    Returns
    -------
    correlation, fvu : str
        Figures of these images, to the digit as the page has them.
    """
    progress.begin("Writing the report")
    y, filenames = None, None
    if images.target is not None:
        y = np.array(images.target_names, dtype=object)[images.target[chosen]]
    if "filenames" in images:
        filenames = [os.path.relpath(name, options.folder) for name in images.filenames[chosen]]
    report = SAEReport(
        sae, images.data[chosen], y, image_shape=images.image_shape, filenames=filenames
    )
    progress.begin("Writing the report", sum(_PARTS.values()) + _PAGE, percent)
    for part, share in _PARTS.items():
        getattr(report._findings, part)
        progress.add(share)
    page = report.html()
    progress.add(_PAGE)
    with replacing(options.output / "report.html") as file:
        file.write(page.encode())
    return [re.search(f"<dt>{name}</dt><dd>(.+?)</dd>", page)[1] for name in ("Correlation", "FVU")]
