"""TopKEnsemble, the torch engine: encode, decode and one training step of all members.

Shapes: E members of H atoms over D features, batches of B rows, k active atoms a row. All
arrays are in scaled units (see ``TopKSparseAutoencoder``). Nothing here uses autograd: the
gradients of a Top-K autoencoder are a few products, and only the encoder's must be dense.
"""

import functools
import math
import os

import torch

from ._adam import DenseAdam, PickedAdam, Picks, Weights
from ._sparsity import above, batch_top_k, dense_codes, fitting_threshold, stack_padded, top_k
from ._threads import add_products, is_shared, n_threads_for, one_thread, product

# A narrow batch is multiplied faster as atoms x rows, a wide one as rows x atoms.
NARROW_BATCH = 64
# Length of a dead atom's encoder when it is made anew.
REVIVED = 0.5
# What is left of a bias that keeps a dead atom from answering, after each epoch.
WAKING = 0.9
# An atom with a bias below minus this, in scaled units, is not to be revived.
SILENT = 1e6
# Where a row has fewer atoms, the compiled search for the largest is as fast as torch's.
FEW_ATOMS = 512
# Below this share of active atoms, products over the active ones alone beat dense products
# on a CPU.
SPARSE_DENSITY = 1 / 8


if hasattr(os, "register_at_fork"):
    # The threads of torch's operators do not survive a fork, and a child that waits for them
    # waits for ever; with one thread it needs none.
    os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def use_sparse_products(device, k, n_components):
    """Whether to multiply over the active atoms alone; the one place where this is chosen.

    Accelerators do best with dense products, and some lack the sparse operators.
    """
    return device.type == "cpu" and k / n_components < SPARSE_DENSITY


def without_autograd(method):
    """Run a method with ordinary tensors, no graph and torch's operators in this thread alone,
    whatever mode the caller is in.
    """

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        with torch.inference_mode(False), torch.no_grad(), one_thread():
            return method(*args, **kwargs)

    return wrapper


class TopKEnsemble:
    """E Top-K sparse autoencoders over the same input, in one set of tensors.

    Member e codes a row x as ``z = TopK(ReLU(W_e (x - b_e) + c_e), k)`` and reconstructs it
    as ``D_e' z + b_e``.

    Parameters
    ----------
    decoder : ndarray of shape (E, H, D), dtype float32
        D, the atoms; unit norm. On a CPU the array is trained in place, as are the others.
    encoder : ndarray of shape (E, H, D), dtype float32, or None
        W; None ties it to the decoder.
    encoder_bias : ndarray of shape (E, H), dtype float32
        c.
    centers : ndarray of shape (E, D), dtype float32
        b.
    thresholds : ndarray of shape (E,), dtype float32, or None
        Smallest activation that counts, for batch top-k: in a training step each member then
        spends ``k B`` activations on the B rows where they are largest, and the smallest of
        them moves the threshold, which alone decides for rows that are only coded (Bussmann,
        Leask and Nanda, 2024). None is top-k: at most k a row.
    k : int
        Number of active atoms a row and member: at most, or with thresholds on average.
    device : str or torch.device, default="cpu"
        Where the tensors live.
    sparse : bool or None, default=None
        Whether to multiply over the active atoms alone. None chooses by device and shape.
    """

    @without_autograd
    def __init__(
        self, decoder, encoder, encoder_bias, centers, thresholds=None, *, k, device="cpu",
        sparse=None,
    ):  # fmt: skip
        device = torch.device(device)
        self._given = decoder, encoder, encoder_bias, centers, thresholds
        self.decoder = torch.from_numpy(decoder).to(device)
        self.tied = encoder is None
        self.encoder = self.decoder if self.tied else torch.from_numpy(encoder).to(device)
        self.encoder_bias = torch.from_numpy(encoder_bias).to(device)
        self.centers = torch.from_numpy(centers).to(device)
        self.thresholds = None if thresholds is None else torch.from_numpy(thresholds).to(device)
        self.k = k
        n_components = decoder.shape[1]
        self.sparse = use_sparse_products(device, k, n_components) if sparse is None else sparse
        self.rows_since_fired = torch.zeros_like(self.encoder_bias)
        self.fired_rows = torch.zeros_like(self.encoder_bias)
        weights = Weights(self.decoder, self.encoder, self.encoder_bias, self.centers, self.tied)
        self._adam = (PickedAdam if self.sparse else DenseAdam)(weights)
        self._buffers = {}

    @property
    def device(self):
        return self.decoder.device

    @property
    def n_steps(self):
        return self._adam.n_steps

    def arrays(self, *, caught_up=True):
        """Decoder, encoder (None if tied), bias, centres and thresholds (or None) in NumPy.

        On a CPU they are the arrays that were given, which were trained in place.
        """
        if caught_up:
            self.catch_up()
        if self.device.type == "cpu":
            return self._given
        encoder = None if self.tied else self.encoder
        tensors = self.decoder, encoder, self.encoder_bias, self.centers, self.thresholds
        return tuple(None if tensor is None else tensor.cpu().numpy() for tensor in tensors)

    def optimizer_arrays(self):
        """What training needs besides `arrays` to go on as if it had not stopped, by name.

        The decoder's atoms may be behind; whoever keeps these must keep them as they are.
        """
        fired = {"rows_since_fired": self.rows_since_fired.cpu().numpy()}
        return fired | self._adam.arrays()

    @without_autograd
    def restore_optimizer(self, arrays, n_steps):
        """Go on after so many steps from what `optimizer_arrays` gave, which is copied."""
        self.rows_since_fired.copy_(torch.from_numpy(arrays["rows_since_fired"]))
        self._adam.restore(arrays, n_steps)

    def catch_up(self, atoms=None):
        """Bring the decoder's atoms, of shape (E, B, any) or all, to the present step."""
        self._adam.catch_up(atoms)

    # --- Forward ---

    @without_autograd
    def encode(self, x):
        """Activations and atoms of the rows of x, each of shape (E, B, k).

        Atoms come in no order; an activation of 0 means that fewer than k atoms fired. With
        thresholds the last axis is as long as the fullest row needs.
        """
        return self._encode(x - self.centers[:, None])[1:]

    @without_autograd
    def error(self, x, consistency=0.0):
        """Mean squared error of the mean reconstruction, and consistency as in `train_step`."""
        self.catch_up()
        activations, atoms = self.encode(x)
        residual = x - self._mean_reconstruction(activations, atoms)
        error = float(residual.double().square().mean())
        if consistency and len(activations) > 1:
            error += consistency * float(self._consistency(activations, atoms)[0])
        return error

    @without_autograd
    def reconstruct(self, x):
        """Mean of the members' reconstructions of the rows of x: shape (B, D)."""
        self.catch_up()
        return self._mean_reconstruction(*self.encode(x))

    def _mean_reconstruction(self, activations, atoms):
        rows = self.centers[:, None].repeat(1, atoms.shape[1], 1)
        self._decode_onto(rows, activations, atoms)
        return rows.mean(0)

    @without_autograd
    def fit_thresholds(self, x):
        """Make the thresholds such that the rows of x have k active atoms on average."""
        for e, threshold in enumerate(self.thresholds):
            activations = product(x - self.centers[e], self.encoder[e].T)
            activations.add_(self.encoder_bias[e]).clamp_(min=0)
            threshold.copy_(fitting_threshold(activations, self.k))

    def _encode(self, centred, *, training=False):
        """Pre-activations (E, B, H), then activations and atoms (E, B, picks)."""
        pre = self._buffer("pre", (*centred.shape[:2], self.encoder.shape[1]))
        narrow = self.device.type == "cpu" and centred.shape[1] < NARROW_BATCH
        if narrow:
            turned = self._buffer("turned", tuple(pre.mT.shape))
            add_products(self.encoder, centred.mT, turned, keep=0)
            torch.add(turned.mT, self.encoder_bias[:, None], out=pre)
            activations, atoms = self._pick(pre, slice(None), training)
        else:
            # A member at a time, while its pre-activations are in cache.
            picks = []
            for e, of_member in enumerate(zip(self.encoder, centred.mT, pre.mT, strict=True)):
                product(*of_member)
                pre[e] += self.encoder_bias[e]
                picks.append(self._pick(pre[e : e + 1], slice(e, e + 1), training))
            activations, atoms = (stack_padded(part) for part in zip(*picks, strict=True))
        return pre, activations.clamp_(min=0), atoms

    def _pick(self, pre, members, training):
        """Activations and atoms of some members' pre-activations."""
        if self.thresholds is None:
            return top_k(pre, self.k)
        return batch_top_k(pre, self.k) if training else above(pre, self.thresholds[members])

    def _decode_onto(self, rows, activations, atoms, slope=None):
        """Add to the rows (E, B, D), in place, their atoms, each times its activation.

        Returns slope times the products of what that gives with the atoms: (E, B, picks).
        """
        if self.sparse:
            from .kernels._rows import (
                decode_onto,  # here, since importing the compiler takes a while
            )

            n_threads = n_threads_for(atoms.numel() * rows.shape[2])
            arrays = (part.numpy() for part in (rows, atoms, activations, self.decoder))
            products = decode_onto(*arrays, slope, n_threads)
            return None if slope is None else torch.from_numpy(products)
        codes = self._dense_codes(activations, atoms)
        add_products(self.decoder.mT, codes.mT, rows.mT)
        if slope is None:
            return None
        add_products(self.decoder, rows.mT, codes.mT, keep=0)
        return slope * codes.gather(2, atoms)

    def _dense_codes(self, activations, atoms):
        return dense_codes(activations, atoms, self.encoder.shape[1])

    # --- Training ---

    @without_autograd
    def train_step(self, x, learning_rate, *, consistency=0.0, aux_coef=0.0, dead_after=math.inf):
        """One step of Adam on the rows of x.

        Parameters
        ----------
        x : tensor of shape (B, D)
            Rows in scaled units.
        learning_rate : float
            Adam's step size.
        consistency : float, default=0.0
            Weight of the mean squared difference between the codes of two members.
        aux_coef : float, default=0.0
            Weight of AuxK, the dead atoms' loss.
        dead_after : float, default=inf
            An atom counts as dead once it has not fired for this many rows.

        Returns
        -------
        loss : tensor of shape ()
            Squared error and consistency, before the step. AuxK is not in it: it begins when
            the first atom is dead, and a curve would show that as a rise.
        reconstruction : tensor of shape (B, D)
            Mean over members, before the step.
        """
        # Rows that the gradients of atoms are sums of, kept side by side in one buffer.
        source = self._buffer("source", (3, len(self.centers), *x.shape))
        residual, dead_residual, centred = source
        torch.sub(x, self.centers[:, None], out=centred)
        if self.takes_small_step(x, consistency):
            loss = self._small_step(source, learning_rate, aux_coef, dead_after)
            return loss, residual.mean(0).add_(x)
        pre, activations, atoms = self._encode(centred, training=True)
        self.catch_up(atoms)
        slope = 2 / residual.numel()
        torch.neg(centred, out=residual)
        gradient = products = self._decode_onto(residual, activations, atoms, slope)
        reconstruction = residual.mean(0).add_(x)

        loss = mean_square(residual)
        if consistency and len(residual) > 1:
            value, pull = self._consistency(activations, atoms)
            loss += consistency * value
            gradient = products + consistency * pull
        picks = [Picks(atoms, activations, products, gradient, slope)]

        dead = self.rows_since_fired >= dead_after
        if aux_coef and dead.any():
            activations_dead, atoms_dead = self._dead_codes(pre, dead)
            self.catch_up(atoms_dead)
            slope_dead = aux_coef * slope
            dead_residual.copy_(residual)
            products = self._decode_onto(dead_residual, activations_dead, atoms_dead, slope_dead)
            picks.append(Picks(atoms_dead, activations_dead, products, products, slope_dead))
        self._count_firing(activations, atoms)
        self._move_thresholds(activations, dead_after)
        self._adam.update(source, picks, learning_rate)
        return loss, reconstruction

    def takes_small_step(self, x, consistency):
        """Whether a step on these rows is more calls than arithmetic, so that one call does it."""
        n_members, n_components = self.encoder_bias.shape
        if not self.sparse or self.thresholds is not None or (consistency and n_members > 1):
            return False
        size = max(self.encoder.numel(), n_members * x.numel() * self.k)
        return n_components < FEW_ATOMS and not is_shared(size)

    def _small_step(self, source, learning_rate, aux_coef, dead_after):
        """The loss; source is as in `train_step`, its last part filled."""
        residual, _, centred = source
        torch.neg(centred, out=residual)
        pre = self._buffer("pre", (*centred.shape[:2], self.encoder.shape[1]))
        torch.baddbmm(self.encoder_bias[:, None], centred, self.encoder.mT, out=pre)
        counts = self.fired_rows.numpy(), self.rows_since_fired.numpy()
        dead = counts[1] >= dead_after
        k_dead = min(self.k, int(dead.sum(axis=1).max())) if aux_coef else 0
        picked = pre, (self.k, k_dead), dead, counts
        return self._adam.small_step(source, picked, learning_rate, float(aux_coef))

    def _consistency(self, activations, atoms):
        """Mean squared difference of two members' codes; its gradient at the active atoms."""
        codes = self._dense_codes(activations, atoms)
        n_members = len(codes)
        pairs = n_members * (n_members - 1) / 2
        total = codes.sum(0)
        # The sum over pairs of (z_e - z_f)^2 is E times the sum of (z_e - mean)^2.
        value = n_members * (codes - total / n_members).square().sum() / (pairs * total.numel())
        others = total.expand_as(codes).gather(2, atoms)
        return value, 2 * (n_members * activations - others) / (pairs * total.numel())

    def _dead_codes(self, pre, dead):
        """Codes of the dead atoms: at most k of those with the largest pre-activation."""
        n_dead = int(dead.sum(1).max())
        if self.sparse:
            from .kernels._rows import positive_top_k

            picks = positive_top_k(pre.numpy(), min(self.k, n_dead), dead.numpy())
            return tuple(torch.from_numpy(part) for part in picks)
        masked = torch.where(dead[:, None], pre, -math.inf)
        activations, atoms = masked.topk(min(self.k, n_dead), sorted=False)
        return activations.clamp_(min=0), atoms

    def _count_firing(self, activations, atoms):
        """Note which atoms fired; one picked by top-k with value 0 has not."""
        if self.sparse:
            from .kernels._rows import count_firing

            counted = atoms, activations, self.fired_rows, self.rows_since_fired
            return count_firing(*(tensor.numpy() for tensor in counted))
        counts = torch.zeros_like(self.fired_rows)
        counts.scatter_add_(1, atoms.flatten(1), (activations > 0).flatten(1).to(counts))
        self.fired_rows += counts
        self.rows_since_fired += atoms.shape[1]
        self.rows_since_fired[counts > 0] = 0

    def _move_thresholds(self, activations, window):
        """Draw thresholds to each member's smallest activation: a mean over a window of rows."""
        if self.thresholds is None:
            return
        smallest = torch.where(activations > 0, activations, math.inf).amin((1, 2))
        weight = max(1 / (self.n_steps + 1), min(1.0, activations.shape[1] / window))
        fired = smallest < math.inf
        moved = self.thresholds.lerp(smallest, weight)
        self.thresholds.copy_(torch.where(fired, moved, self.thresholds))

    @without_autograd
    def revive(self, dead_after):
        """Make the encoders of dead atoms the atoms themselves again, but fainter.

        An encoder that answers no row gets no gradient, not even from AuxK. Tied ones cannot
        stray so far from their atoms. At full length they would take rows from live atoms. Biases
        that keep them from answering shrink, but for those that are meant to.
        """
        dead = self.rows_since_fired >= dead_after
        if not self.tied and dead.any():
            self.catch_up()
            self.encoder[dead] = REVIVED * self.decoder[dead]
            waking = dead & (self.encoder_bias > -SILENT) & (self.encoder_bias < 0)
            self.encoder_bias[waking] *= WAKING

    def _buffer(self, name, shape):
        """Memory kept from step to step; fresh pages cost more than the arithmetic."""
        kept, shaped = self._buffers.get(name, (None, None))
        if shaped is None or shaped.shape != shape:
            size = math.prod(shape)
            if kept is None or kept.numel() < size:
                kept = torch.empty(size, device=self.device)
            shaped = kept[:size].view(shape)
            self._buffers[name] = kept, shaped
        return shaped


def mean_square(values):
    """Mean of the squares, in one pass."""
    flat = values.reshape(-1)
    return torch.dot(flat, flat) / flat.numel()
