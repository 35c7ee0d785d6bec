"""TopKEnsemble, the torch engine: encode, decode and one training step of all members.

Shapes: E members of H atoms over D features, batches of B rows, k active atoms a row. All
arrays are in scaled units (see ``TopKSparseAutoencoder``). Nothing here uses autograd: the
gradients of a Top-K autoencoder are a few products, and only the encoder's must be dense.
"""

import functools
import math
import os
from typing import NamedTuple

import numpy as np
import torch
from torch.optim.adam import adam

from ._topk import above, batch_top_k, stack_padded, top_k

BETA1, BETA2 = 0.9, 0.999
# Adam's usual 1e-8 is no longer small beside the gradients of a mean over 12,288 features;
# this keeps a step independent of the number of features, rows and members.
EPSILON = 1e-20

# What torch's Adam remembers of a parameter.
_MOMENTS = "first", "second", "n_steps"

# A narrow batch is multiplied faster as atoms x rows, a wide one as rows x atoms.
NARROW_BATCH = 64
# Length of a dead atom's encoder when it is made anew.
REVIVED = 0.5
# Numbers to work on from which on threads are worth their start and the wait for the last.
SHARED_SIZE = 2**22
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
    """Run a method with ordinary tensors and no graph, whatever mode the caller is in."""

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        with torch.inference_mode(False), torch.no_grad():
            return method(*args, **kwargs)

    return wrapper


def optimizer_shapes(shape, n_steps, *, tied, sparse):
    """dtype and shape of all that `TopKEnsemble.optimizer_arrays` gives, by name."""
    n_members, n_components, n_features = shape
    shapes = {"rows_since_fired": (np.float32, shape[:2])}
    atoms = ("decoder",) if tied else ("decoder", "encoder")
    by_torch = {"bias": shape[:2], "centers": (n_members, n_features)}
    if sparse:
        shapes["rates"] = np.float64, (n_steps + 1,)
    if not n_steps:
        return shapes
    if sparse:
        n_atoms = n_members * n_components
        for name in atoms:
            for part in ("first", "second"):
                shapes[f"{name}.{part}"] = np.float32, (n_atoms, n_features)
            for part in ("picked_at", "visited_at", "moved_at"):
                shapes[f"{name}.{part}"] = np.int64, (n_atoms,)
    else:
        by_torch |= dict.fromkeys(atoms, shape)
    for name, shape_ in by_torch.items():
        for part in _MOMENTS:
            shapes[f"{name}.{part}"] = np.float32, () if part == "n_steps" else shape_
    return shapes


class Picks(NamedTuple):
    """The atoms picked for each row, all (E, B, picks), and what the loss asks of them."""

    atoms: torch.Tensor
    activations: torch.Tensor
    products: torch.Tensor  # gradient at the activations, of the squared error alone
    gradient: torch.Tensor  # the same of the whole loss
    slope: float  # of the loss: its gradient at the reconstruction is slope * residual


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
        self.n_steps = 0
        self.rows_since_fired = torch.zeros_like(self.encoder_bias)
        self.fired_rows = torch.zeros_like(self.encoder_bias)
        self._moments = {}  # of torch's Adam, by name of the parameter
        self._atom_adams = None  # of the sparse products: encoder's and decoder's
        self._rates = np.zeros(1024)
        self._buffers = {}

    @property
    def device(self):
        return self.decoder.device

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
        arrays = {"rows_since_fired": self.rows_since_fired.cpu().numpy()}
        for name, moments in self._moments.items():
            for part, moment in zip(_MOMENTS, moments, strict=True):
                arrays[f"{name}.{part}"] = moment.cpu().numpy()
        for name, adam_ in self._adams_by_name():
            for part, array in adam_.arrays().items():
                arrays[f"{name}.{part}"] = array
        if self.sparse:
            arrays["rates"] = self._rates[: self.n_steps + 1]
        return arrays

    @without_autograd
    def restore_optimizer(self, arrays, n_steps):
        """Go on after so many steps from what `optimizer_arrays` gave, which is copied."""
        self.n_steps = n_steps
        self.rows_since_fired.copy_(torch.from_numpy(arrays["rows_since_fired"]))
        self._moments = {
            name.removesuffix(".n_steps"): tuple(
                torch.tensor(arrays[name.replace("n_steps", part)], device=self.device)
                for part in _MOMENTS
            )
            for name in arrays
            if name.endswith(".n_steps")
        }
        if self.sparse and n_steps:
            self._rates = np.concatenate([arrays["rates"], np.zeros(1024)])
            self._make_atom_adams()
        for name, adam_ in self._adams_by_name():
            for part, array in adam_.arrays().items():
                array[...] = arrays[f"{name}.{part}"]

    def _adams_by_name(self):
        """The optimizers of atoms; the tied encoder's is the decoder's."""
        named = zip(("encoder", "decoder"), self._atom_adams or (), strict=False)
        return [(name, adam_) for name, adam_ in named if name == "decoder" or not self.tied]

    # --- Forward ---

    @without_autograd
    def encode(self, x):
        """Activations and atoms of the rows of x, each of shape (E, B, k).

        Atoms come in no order; an activation of 0 means that fewer than k atoms fired. With
        thresholds the last axis is as long as the fullest row needs.
        """
        return self._encode(x - self.centers[:, None])[1:]

    @without_autograd
    def reconstruct(self, x):
        """Mean of the members' reconstructions of the rows of x: shape (B, D)."""
        self.catch_up()
        activations, atoms = self.encode(x)
        rows = self.centers[:, None].repeat(1, len(x), 1)
        self._decode_onto(rows, activations, atoms)
        return rows.mean(0)

    def _encode(self, centred, *, training=False):
        """Pre-activations (E, B, H), then activations and atoms (E, B, picks)."""
        pre = self._buffer("pre", (*centred.shape[:2], self.encoder.shape[1]))
        narrow = self.device.type == "cpu" and centred.shape[1] < NARROW_BATCH
        if narrow:
            turned = self._buffer("turned", tuple(pre.mT.shape))
            torch.bmm(self.encoder, centred.mT, out=turned)
            torch.add(turned.mT, self.encoder_bias[:, None], out=pre)
            activations, atoms = self._pick(pre, slice(None), training)
        else:
            # A member at a time, while its pre-activations are in cache.
            picks = []
            for e, (rows, weight) in enumerate(zip(centred, self.encoder, strict=True)):
                torch.mm(rows, weight.T, out=pre[e]).add_(self.encoder_bias[e])
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
            from ._kernels import decode_onto  # here, since importing the compiler takes a while

            n_threads = self._n_threads(atoms.numel() * rows.shape[2])
            arrays = (part.numpy() for part in (rows, atoms, activations, self.decoder))
            products = decode_onto(*arrays, slope, n_threads)
            return None if slope is None else torch.from_numpy(products)
        rows.baddbmm_(self._dense_codes(activations, atoms), self.decoder)
        return None if slope is None else slope * (rows @ self.decoder.mT).gather(2, atoms)

    def _n_threads(self, size):
        """As many as torch uses; one where there is too little to share."""
        return torch.get_num_threads() if size >= SHARED_SIZE else 1

    def _dense_codes(self, activations, atoms):
        """Codes with their zeros: shape (E, B, H)."""
        codes = activations.new_zeros(*atoms.shape[:2], self.encoder.shape[1])
        return codes.scatter_add_(2, atoms, activations)  # what fills up is added, as 0

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
        self._update(source, picks, slope, learning_rate)
        return loss, reconstruction

    def takes_small_step(self, x, consistency):
        """Whether a step on these rows is more calls than arithmetic, so that one call does it."""
        n_members, n_components = self.encoder_bias.shape
        if not self.sparse or self.thresholds is not None or (consistency and n_members > 1):
            return False
        size = max(self.encoder.numel(), n_members * x.numel() * self.k)
        return n_components < FEW_ATOMS and size < SHARED_SIZE

    def _small_step(self, source, learning_rate, aux_coef, dead_after):
        """The loss; source is as in `train_step`, its last part filled."""
        from ._small_step import small_step

        residual, _, centred = source
        torch.neg(centred, out=residual)
        pre = self._buffer("pre", (*centred.shape[:2], self.encoder.shape[1]))
        torch.baddbmm(self.encoder_bias[:, None], centred, self.encoder.mT, out=pre)
        dead = self.rows_since_fired.numpy() >= dead_after
        k_dead = min(self.k, int(dead.sum(axis=1).max())) if aux_coef else 0
        self.n_steps += 1
        self._note_rate(learning_rate)
        weights = self.decoder, self.encoder_bias, self.centers
        moments = self._moments_of("bias", weights[1]), self._moments_of("centers", weights[2])
        for *_, n_steps in moments:
            n_steps.fill_(self.n_steps)
        loss = small_step(
            source.numpy(), pre.numpy(), (self.k, k_dead), dead,
            tuple(part.numpy() for part in weights),
            tuple((adam_.state, adam_.manner) for adam_ in self._make_atom_adams()),
            tuple((first.numpy(), second.numpy()) for first, second, _ in moments),
            (self.fired_rows.numpy(), self.rows_since_fired.numpy()),
            self._rates, self.n_steps, float(aux_coef), self.tied,
        )  # fmt: skip
        return torch.tensor(loss)

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
            from ._kernels import positive_top_k

            picks = positive_top_k(pre.numpy(), min(self.k, n_dead), dead.numpy())
            return tuple(torch.from_numpy(part) for part in picks)
        masked = torch.where(dead[:, None], pre, -math.inf)
        activations, atoms = masked.topk(min(self.k, n_dead), sorted=False)
        return activations.clamp_(min=0), atoms

    def _count_firing(self, activations, atoms):
        """Note which atoms fired; one picked by top-k with value 0 has not."""
        if self.sparse:
            from ._kernels import count_firing

            counted = atoms, activations, self.fired_rows, self.rows_since_fired
            return count_firing(*(tensor.numpy() for tensor in counted))
        counts = torch.zeros_like(self.fired_rows)
        add_at(counts, atoms, (activations > 0).to(counts.dtype))
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

    def _update(self, source, picks, slope, learning_rate):
        """Adam on all parameters; picks are those of the residual and, if any, the dead atoms'."""
        centers_gradient = source[0].sum(1).mul_(slope)
        self.n_steps += 1
        update = self._update_picked if self.sparse else self._update_all
        update(source, picks, centers_gradient, learning_rate)

    def _update_all(self, source, picks, centers_gradient, learning_rate):
        """By dense products and torch's Adam."""
        bias_gradient = torch.zeros_like(self.encoder_bias)
        # An atom's product with its own gradient needs no pass over the atom: its products with
        # the residuals, and with the centred rows (activation less bias), are known.
        along = torch.zeros_like(self.encoder_bias)
        gradient = torch.zeros_like(self.decoder)
        encoder_gradient = gradient if self.tied else torch.zeros_like(self.encoder)
        for rows, p in zip(source, picks, strict=False):
            at_encoder = p.gradient * (p.activations > 0)
            add_at(bias_gradient, p.atoms, at_encoder)
            tied_part = at_encoder if self.tied else 0
            add_at(along, p.atoms, p.activations * (p.products + tied_part))
            gradient.baddbmm_(self._dense_codes(p.slope * p.activations, p.atoms).mT, rows)
            encoder_gradient.baddbmm_(self._dense_codes(at_encoder, p.atoms).mT, source[2])
        if self.tied:
            along -= bias_gradient * self.encoder_bias
        # Only the part across the atom: the part along it is undone by the unit norm.
        gradient.addcmul_(self.decoder, along[..., None], value=-1)
        centers_gradient -= torch.bmm(bias_gradient[:, None], self.encoder)[:, 0]
        if not self.tied:
            self._adam("encoder", self.encoder, encoder_gradient, learning_rate)
        self._adam("decoder", self.decoder, gradient, learning_rate)
        self.decoder.div_(torch.linalg.vector_norm(self.decoder, dim=2, keepdim=True))
        self._adam("bias", self.encoder_bias, bias_gradient, learning_rate)
        self._adam("centers", self.centers, centers_gradient, learning_rate)

    def _adam(self, name, parameter, gradient, learning_rate):
        """One step of torch's Adam."""
        first, second, n_steps = self._moments_of(name, parameter)
        adam(
            [parameter], [gradient], [first], [second], [], [n_steps], fused=True,
            amsgrad=False, beta1=BETA1, beta2=BETA2, lr=learning_rate, weight_decay=0.0,
            eps=EPSILON, maximize=False,
        )  # fmt: skip

    def _moments_of(self, name, parameter):
        if name not in self._moments:
            moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self._moments[name] = *moments, torch.zeros((), device=self.device)
        return self._moments[name]

    def _update_picked(self, source, picks, centers_gradient, learning_rate):
        """The same over the picked atoms alone, in one visit to each."""
        from ._atom_adam import adam_step
        from ._kernels import picks_by_atom, run

        self._make_atom_adams()
        rate = self._note_rate(learning_rate)
        arrays = [tuple(part.numpy() for part in p[:4]) for p in picks]
        slopes = tuple(p.slope for p in picks)
        if len(picks) == 1:
            arrays.append(tuple(part[..., :0].copy() for part in arrays[0]))
            slopes *= 2
        bias = self.encoder_bias.numpy()
        *by_atom, bias_gradient, along = picks_by_atom(tuple(arrays), slopes, bias, self.tied)
        n_threads = self._n_threads(self.encoder.numel())
        totals = np.zeros((n_threads, *centers_gradient.shape), np.float32)
        run(self._atom_jobs(by_atom, source, along, bias_gradient, totals), n_threads)
        centers_gradient += torch.from_numpy(totals.sum(axis=0))
        gradients = bias_gradient, centers_gradient.flatten().numpy()
        parameters = {"bias": self.encoder_bias, "centers": self.centers}
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            first, second, n_steps = self._moments_of(name, parameter)
            n_steps.fill_(self.n_steps)
            state = (part.numpy().reshape(-1) for part in (parameter, first, second))
            adam_step(*state, gradient, rate)

    def _note_rate(self, learning_rate):
        """The learning rate of this step with Adam's correction for its start."""
        if self.n_steps == len(self._rates):
            self._rates = np.concatenate([self._rates, np.zeros_like(self._rates)])
        correction = math.sqrt(1 - BETA2**self.n_steps) / (1 - BETA1**self.n_steps)
        self._rates[self.n_steps] = learning_rate * correction
        return self._rates[self.n_steps]

    def _atom_jobs(self, by_atom, source, along, bias_gradient, totals):
        """What is to be run for the atoms: the encoder's and the decoder's in one where tied."""
        encoder_adam, decoder_adam = self._atom_adams
        firsts, rows, values = by_atom
        settings = totals, self._rates, self.n_steps
        source = source.flatten(0, 2).numpy()
        if self.tied:
            return [decoder_adam.job(by_atom, source, along, bias_gradient, *settings)]
        none = np.zeros_like(along)
        of_encoder, of_decoder = (
            (firsts, rows[part : part + 1], values[part : part + 1]) for part in (1, 0)
        )
        return [
            encoder_adam.job(of_encoder, source, none, bias_gradient, *settings),
            decoder_adam.job(of_decoder, source, along, none, *settings),
        ]

    def _make_atom_adams(self):
        """Optimizers of the encoder's and decoder's atoms; one and the same where tied."""
        if self._atom_adams is not None:
            return self._atom_adams
        from ._atom_adam import AtomAdam

        decoder = self.decoder.flatten(0, 1).numpy()
        # The encoder's product needs all atoms at every step, so they cannot be left behind.
        of_decoder = of_encoder = AtomAdam(decoder, unit=True, lazy=not self.tied)
        if not self.tied:
            encoder = self.encoder.flatten(0, 1).numpy()
            of_encoder = AtomAdam(encoder, unit=False, lazy=False)
        self._atom_adams = of_encoder, of_decoder
        return self._atom_adams

    @without_autograd
    def revive(self, dead_after):
        """Make the encoders of dead atoms the atoms themselves again, but fainter.

        An encoder that answers no row gets no gradient, not even from AuxK. Tied ones cannot
        stray so far from their atoms. At full length they would take rows from live atoms.
        """
        dead = self.rows_since_fired >= dead_after
        if not self.tied and dead.any():
            self.catch_up()
            self.encoder[dead] = REVIVED * self.decoder[dead]

    def catch_up(self, atoms=None):
        """Bring the decoder's atoms, of shape (E, B, any) or all, to the present step."""
        if self._atom_adams is None or self.tied:
            return
        wanted = np.full(self.encoder_bias.shape, atoms is None)
        n_atoms = wanted.size
        if atoms is not None:
            for of_member, picked in zip(wanted, atoms.numpy(), strict=True):
                of_member[picked.ravel()] = True
            n_atoms = min(n_atoms, atoms.numel())
        n_threads = self._n_threads(n_atoms * self.decoder.shape[2])
        self._atom_adams[1].catch_up(wanted.ravel(), self._rates, self.n_steps, n_threads)

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


def add_at(sums, atoms, weights):
    """Add the weights, shape (E, B, any), to their atoms' sums, shape (E, H)."""
    sums.scatter_add_(1, atoms.flatten(1), weights.flatten(1))


def mean_square(values):
    """Mean of the squares, in one pass."""
    flat = values.reshape(-1)
    return torch.dot(flat, flat) / flat.numel()
