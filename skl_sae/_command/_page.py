"""Report on some images, as the command writes it."""

import os
import re

import numpy as np

from .._model_file._atomic import replacing
from ..report import SAEReport


def write_report(sae, images, chosen, options):
    """Write the report on some of the images, with names relative to the folder.

    Returns
    -------
    correlation, fvu : str
        Figures of these images, to the digit as the page has them.
    """
    y, filenames = None, None
    if images.target is not None:
        y = np.array(images.target_names, dtype=object)[images.target[chosen]]
    if "filenames" in images:
        filenames = [os.path.relpath(name, options.folder) for name in images.filenames[chosen]]
    report = SAEReport(
        sae, images.data[chosen], y, image_shape=images.image_shape, filenames=filenames
    )
    page = report.html()
    with replacing(options.output / "report.html") as file:
        file.write(page.encode())
    return [re.search(f"<dt>{name}</dt><dd>(.+?)</dd>", page)[1] for name in ("Correlation", "FVU")]
