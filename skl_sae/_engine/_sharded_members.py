"""MemberShards: each rank keeps some members whole."""

import functools

import torch

from . import _fused
from ._objective import decode_onto, mean_square
from ._parameters import ActiveAtoms
from ._sharded import Own, ShardedModel
from ._threads import as_part, without_autograd


def _as_part(method):
    """Cut work as it would be cut were all members here, which keeps the last bit of sums."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        with as_part(self.parts.sizes[self.parts.rank], self.parts.shape[0]):
            return method(self, *args, **kwargs)

    return wrapper


class MemberShards(ShardedModel):
    """A model whose members are spread over ranks, each of which learns as in one process.

    Members meet where their codes are compared, and where their reconstructions are combined.
    """

    def __init__(self, parameters, **options):
        super().__init__(parameters, **options)
        n_members, n_atoms, _ = self.parts.shape
        if self.fused:
            self.local.optimizer.within = self.parts.start * n_atoms, n_members * n_atoms

    step, encode = _as_part(ShardedModel.step), _as_part(ShardedModel.encode)

    # --- Picks ---

    def _agreed(self, active, batch=None, k=None):
        """Active atoms of all members."""
        if k is None and self.parameters.thresholds is None:
            k = self.k
        found = self._exchanged(active, k, batch)
        return ActiveAtoms(*(self._members(part) for part in found))

    def _own(self, active, filler=None):
        return Own(ActiveAtoms(*(part[self.parts.here] for part in active)), None)

    def _own_dead(self, active, k, filler=None):
        return Own(ActiveAtoms(*map(torch.as_tensor, active)), None)

    def _members(self, gathered):
        """Join what ranks have of their members, (ranks, most members, ...), to that of all."""
        return torch.cat(
            [part[:size] for part, size in zip(gathered, self.parts.sizes, strict=True)]
        )

    def _of_all(self, of_members):
        """Members of all ranks, side by side."""
        size = self._most_members - len(of_members)
        if size:
            filler = of_members.new_zeros(size, *of_members.shape[1:])
            of_members = torch.cat([of_members, filler])
        return self._members(self.ranks.gather(of_members))

    # --- One member's own ---

    def _explain_from(self, rows, centred, residual):
        """By the loop of one process, for its bits."""
        return _fused.explaining(self.local, rows, centred)[1]

    def _explain(self, rows, decoder, active, slope):
        return _fused.decode_and_multiply(rows, decoder, active, slope)

    def _explain_dense(self, rows, active, slope):
        return decode_onto(rows, self.local.parameters.decoder, active, slope)

    def _outcome(self, residual, squares, batch):
        """Loss and reconstruction, from the residuals of all members."""
        residual = self._of_all(residual)
        if squares is None:
            return mean_square(residual, batch.weight), self.combine(residual + batch.rows)
        squares = self._of_all(squares).numpy()
        weighted = squares if batch.weight is None else batch.weight.numpy() * squares
        loss = float(weighted.sum(dtype="float64")) / residual.numel()
        combined = self.combine(residual.numpy() + batch.rows.numpy())
        return loss, torch.from_numpy(combined)

    def _result(self, sums, centers):
        return sums.result(centers)

    # --- Forward ---

    @without_autograd
    @_as_part
    def decode(self, active):
        """Reconstruction from active atoms of all members; no atom may be behind."""
        return self.combine(self._of_all(self.local.decode(self._own(active).active)))

    @without_autograd
    @_as_part
    def fit_thresholds(self, rows, k=None):
        """Find thresholds as `LinearModel.fit_thresholds` does."""
        self.local.fit_thresholds(rows, k)
        thresholds = self.parameters.thresholds
        thresholds.copy_(self._of_all(thresholds[self.parts.here].clone()))
