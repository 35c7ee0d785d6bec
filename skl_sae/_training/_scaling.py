"""The scaled units of a fit: the mean of the data is 0, the mean variance of a feature 1."""

import numpy as np

from .._engine._parameters import Parameters
from .._engine._tuning import ROWS_AT_A_TIME

# Spread of a feature, relative to its offset, that float32 numbers have by rounding alone.
_ROUNDING = 2 * np.finfo(np.float32).eps
_LEAST_BIAS = np.finfo(np.float32).min  # of an atom that is silent whatever the units


class Scaling:
    """How scaled units relate to those of the data: scaled = (data - offset) / scale.

    Parameters
    ----------
    offset : array-like of shape (n_features,) or (n_channels,)
        Mean of the data, or of each channel; float64, since data may lie far from 0.
    scale : float
        Root of the mean variance of a feature.
    """

    def __init__(self, offset, scale):
        self.offset, self.scale = np.asarray(offset, np.float64), float(scale)
        # X - offset by float32 arithmetic: the first part is exact where X is near the offset.
        self._coarse = self.offset.astype(np.float32)
        self._fine = (self.offset - self._coarse).astype(np.float32)
        # Correlation ignores scale and a common offset, but not what differs between features.
        self.relative_offset = (self.offset - self.offset.mean()) / self.scale

    @classmethod
    def of(cls, rows, n_channels=None):
        """Find the units of an ArrayRows; with channels, features of one have the same offset.

        Variation that is no more than the rounding of a feature's own offset counts only where
        no feature has any other: a constant feature does not hide the variation of the rest.
        """
        X, weight = rows.X, rows.weight
        offset, variance = _mean(X, weight), np.zeros(X.shape[1])
        for start in range(0, len(X), ROWS_AT_A_TIME):
            part = slice(start, start + ROWS_AT_A_TIME)
            squares = np.square(X[part] - offset)
            if weight is not None:
                squares *= weight[part, None]
            variance += squares.sum(axis=0)
        variance /= len(X) if weight is None else weight.sum()
        if n_channels:
            by_channel = offset.reshape(-1, n_channels)
            offset = by_channel.mean(axis=0)
            # About the channel's mean: var + (mean - channel's mean)^2
            variance = variance.reshape(-1, n_channels) + np.square(by_channel - offset)
            variance = variance.mean(axis=0)
        # A constant column of 1e7 has a variance of rounding that may exceed all others.
        is_rounding = np.sqrt(variance) <= _ROUNDING * np.abs(offset)
        if is_rounding.all():
            scale = np.abs(offset).max()
        else:
            scale = np.sqrt(np.where(is_rounding, 0, variance).mean())
        return cls(offset, max(scale, np.finfo(np.float32).tiny) if scale > 0 else 1)

    def scale_rows(self, X):
        """Rows in scaled units."""
        rows = X.reshape(-1, len(self.offset)) - self._coarse
        rows -= self._fine
        rows /= np.float32(self.scale)
        return rows.reshape(X.shape)

    def unscale_rows(self, rows):
        """Rows in the units of the data, in float64."""
        scaled = rows.reshape(-1, len(self.offset)) * self.scale
        return (scaled + self.offset).reshape(rows.shape)

    def offset_of_rows(self, n_features):
        """`relative_offset` of each of the features."""
        n_pixels = n_features // len(self.offset)
        return self.relative_offset if n_pixels == 1 else np.tile(self.relative_offset, n_pixels)

    def scale_parameters(self, parameters):
        """Copies of fitted parameters in scaled units."""
        p, thresholds = parameters, parameters.thresholds
        if thresholds is not None:
            thresholds = (thresholds / self.scale).astype(np.float32)
        return Parameters(
            p.decoder.copy(),
            None if p.tied else p.encoder.copy(),
            self._scaled_biases(p.bias),
            self.scale_rows(p.centers),
            thresholds,
            None if p.scales is None else p.scales.copy(),
            self._scaled_biases(p.correction_biases),
        )

    def _scaled_biases(self, bias):
        return None if bias is None else (bias / self.scale).astype(np.float32)

    def unscale_parameters(self, parameters):
        """Parameters in the units of the data; atoms and encoders are the same arrays."""
        p = parameters
        # pre = W (x - b) + c: in units of the data W stays, and c is multiplied by the scale.
        thresholds = p.thresholds
        if thresholds is not None:
            thresholds = (self.scale * thresholds).astype(np.float32)
        centers = (self.offset + self.scale * p.centers).astype(np.float32)
        return Parameters(
            p.decoder, p.encoder, self._unscaled_biases(p.bias), centers, thresholds,
            p.scales, self._unscaled_biases(p.correction_biases),
        )  # fmt: skip

    def _unscaled_biases(self, bias):
        if bias is None:
            return None
        return np.maximum(self.scale * bias.astype(np.float64), _LEAST_BIAS).astype(np.float32)


def _mean(X, weight):
    """Mean of rows, in float64."""
    if weight is None:
        return X.mean(axis=0, dtype=np.float64)
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        total += (X[part] * weight[part, None]).sum(axis=0)
    return total / weight.sum()
