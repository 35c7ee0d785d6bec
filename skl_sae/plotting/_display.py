"""Base of the displays that draw on one Axes."""


class _Display:
    def _drawn_on(self, ax):
        """Keep the Axes and its figure; return the display, as plot does."""
        self.ax_, self.figure_ = ax, ax.figure
        return self
