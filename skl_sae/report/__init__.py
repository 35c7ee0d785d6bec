"""SAEReport: a fitted estimator and some images, as one HTML page that needs no other files."""

from ._report import SAEReport

__all__ = ["SAEReport"]
