"""Report on some images, as the command writes it."""

import os

import numpy as np

from ..report import SAEReport


def write_report(sae, images, chosen, options):
    """Write the report on some of the images, with names relative to the folder; return it."""
    y, filenames = None, None
    if images.target is not None:
        y = np.array(images.target_names, dtype=object)[images.target[chosen]]
    if "filenames" in images:
        filenames = [os.path.relpath(name, options.folder) for name in images.filenames[chosen]]
    report = SAEReport(
        sae, images.data[chosen], y, image_shape=images.image_shape, filenames=filenames
    )
    report.write_html(options.output / "report.html")
    return report
