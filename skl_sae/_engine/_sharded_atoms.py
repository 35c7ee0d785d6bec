"""AtomShards: each rank keeps some atoms of every member."""

import numpy as np
import torch

from . import _fused, _tuning
from ._objective import decode_onto, mean_square
from ._parameters import ActiveAtoms
from ._sharded import Own, ShardedModel
from ._sparsity import batch_top_k, dense_codes, fitting_threshold, trimmed
from ._threads import add_products, product, without_autograd


class AtomShards(ShardedModel):
    """A model whose atoms are spread over ranks.

    Each rank selects k of its own atoms for a row, and all select the k largest of these. What the
    active atoms of each rank explain is added up over ranks, and so is the encoder's part of the
    centres' gradient. Sums are in another order than in one process.
    """

    def __init__(self, parameters, **options):
        super().__init__(parameters, **options)
        self._starts = np.cumsum([0, *self.parts.sizes[:-1]])
        if self.fused:
            self.local.optimizer.add_parts = self._begin_to_add

    def _begin_to_add(self, array):
        """Begin to sum NumPy arrays of all ranks in place; what waits for the sum."""
        return self.ranks.begin_to_add(torch.from_numpy(array))

    # --- Picks ---

    def _agreed(self, active, batch=None, k=None):
        """The picks that count, of those that each rank has found among its own atoms."""
        by_threshold = self.parameters.thresholds is not None and k is None
        of_row = k or self.k
        if self.fused and not by_threshold:
            found = self._bits_exchanged(active, of_row, batch).contiguous().numpy()
            merged = _fused.merge(found, self._starts, of_row)
            return ActiveAtoms(*map(torch.from_numpy, merged))
        active = ActiveAtoms(torch.as_tensor(active[0]) + self.parts.start, active[1])
        found = self._exchanged(active, None if by_threshold else of_row, batch)
        n_members, n_rows = found.values.shape[1:3]
        # Ranks in their order, so that of equal ones the first atom counts.
        indices, values = (
            part.permute(1, 2, 0, 3).reshape(n_members, n_rows, -1) for part in found
        )
        if not by_threshold:
            largest, places = values.topk(of_row, sorted=False)
            chosen = ActiveAtoms(places, largest)
        elif batch is None:
            fullest = values.sort(dim=2, descending=True)
            chosen = ActiveAtoms(fullest.indices, fullest.values)
            chosen = trimmed(chosen, chosen.values > 0)
        else:
            chosen = batch_top_k(values, self.k, batch.weight)
        return ActiveAtoms(indices.gather(2, chosen.indices), chosen.values)

    def _own(self, active, filler=-1):
        """The picks of atoms that are kept here, those of a row first, and then the filler.

        A filler of -1 is passed over by compiled loops; where Adam is to move atoms that were
        picked before it stands for the last atom, which comes to no harm.
        """
        if filler < 0:
            arrays = ActiveAtoms(*(part.numpy() for part in active))
            own, places = _fused.own(arrays, self.parts.start, self.parts.stop)
            return Own(ActiveAtoms(*map(torch.from_numpy, own)), torch.from_numpy(places))
        indices, values = active
        is_own = (indices >= self.parts.start) & (indices < self.parts.stop) & (values != 0)
        width = max(1, int(is_own.sum(2).max()))
        places = is_own.byte().argsort(dim=2, descending=True, stable=True)[..., :width]
        is_own = is_own.gather(2, places)
        indices = torch.where(is_own, indices.gather(2, places) - self.parts.start, filler)
        values = torch.where(is_own, values.gather(2, places), 0)
        return Own(ActiveAtoms(indices, values), places)

    def _own_dead(self, active, k, filler=-1):
        return self._own(self._agreed(active, k=k), filler)

    # --- Sums over ranks ---

    def _explain_from(self, rows, centred, residual):
        """By what all parts explain, which is added to the negative rows."""
        np.negative(centred, out=residual)
        return self._explain

    def _explain(self, rows, decoder, active, slope):
        """Add what all parts explain to rows; products and squares as of all of it."""
        if self.ranks.rank:
            rows.fill(0)  # only one of those added up has what stood there
        halves, waiting = self._halves(rows, active), []
        for part in halves:
            _fused.decode_and_multiply(
                rows[:, part], decoder, ActiveAtoms(*(array[:, part] for array in active))
            )
            waiting.append(self._begin_to_add(rows[:, part]))
        found = []
        for part, wait in zip(halves, waiting, strict=True):
            wait()
            of_part = rows[:, part], decoder, active.indices[:, part], slope[:, part]
            found.append(_fused.multiply(*of_part))
        return tuple(np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))

    def _halves(self, rows, active):
        """Parts of the rows, of which the first travels while the second is decoded."""
        half, n_sums = rows.shape[1] // 2, active.values.size * rows.shape[2]
        if len(rows) > 1 or not half or n_sums < _tuning.HALVED:
            return [slice(None)]
        return [slice(0, half), slice(half, None)]

    def _explain_dense(self, rows, active, slope):
        decoder = self.local.parameters.decoder
        if self.ranks.rank:
            rows.zero_()
        decode_onto(rows, decoder, active)
        self.ranks.add(rows)
        codes = dense_codes(active, decoder.shape[1])
        add_products(decoder, rows.mT, codes.mT, keep=0)
        return slope * codes.gather(2, active.indices)

    def _outcome(self, residual, squares, batch):
        """Loss and reconstruction, from the residual of all members."""
        if squares is None:
            loss = mean_square(residual, batch.weight)
        else:
            weight = 1 if batch.weight is None else batch.weight
            loss = float((weight * squares).double().sum()) / residual.numel()
        out = self.local.workspace.get("reconstruction", tuple(residual.shape))
        return loss, self.combine(torch.add(residual, batch.rows, out=out))

    def _result(self, sums, centers):
        """Gradients, with the encoder's part of the centres' summed over ranks."""
        gradients = sums.result(torch.zeros_like(centers))
        self.ranks.add(gradients.centers)
        gradients.centers += centers
        return gradients

    # --- Forward ---

    @without_autograd
    def decode(self, active):
        """Reconstruction from active atoms of all parts; no atom may be behind."""
        rows = self.local.parameters.centers[:, None].repeat(1, active.indices.shape[1], 1)
        if self.ranks.rank:
            rows.zero_()
        own = self._own(active, filler=-1 if self.fused else 0).active
        if self.fused:
            arrays = ActiveAtoms(*(part.numpy() for part in own))
            _fused.decode_and_multiply(rows.numpy(), self.local.arrays_in_place.decoder, arrays)
        else:
            decode_onto(rows, self.local.parameters.decoder, own)
        self.ranks.add(rows)
        return self.combine(rows)

    @without_autograd
    def fit_thresholds(self, rows, k=None):
        """Find thresholds as `LinearModel.fit_thresholds` does."""
        p, n_budget = self.local.parameters, self.k * len(rows)
        for e, threshold in enumerate(self.parameters.thresholds):
            activations = product(rows - p.centers[e], p.weights[e].T)
            activations.add_(p.bias[e]).clamp_(min=0)
            # The largest of all are among the largest of each part.
            largest = activations.new_zeros(n_budget)
            found = activations.flatten().topk(min(n_budget, activations.numel())).values
            largest[: len(found)] = found
            of_all = self.ranks.gather(largest).view(len(rows), -1)
            threshold.copy_(fitting_threshold(of_all, k or self.k))
