"""One training step of this package beside the plain torch loop and other libraries.

Everything runs in one process on the same photographs, in turns, so that the ratios hold on
a noisy machine; peak memory is measured in a process of its own for each. Run as

    python benchmarks/speed.py [--rounds 5] [--shapes S1 S2 S3] [--skip-memory]

Other libraries are taken in where they can be imported. AuxK, which the plain loop lacks, is
off. What is printed is a Markdown table.
"""

import argparse
import contextlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numba
import numpy as np
import torch

from skl_sae._engine import kernels
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Batch, Objective
from skl_sae._engine._threads import n_threads_for
from skl_sae._engine.init._start import Code, initial_parameters
from skl_sae.datasets import load_photographs

# Image size and mode, atoms, active atoms, rows of a batch.
SHAPES = {
    "S1": ((64, 64), "RGB", 3072, 128, 32),
    "S2": ((64, 64), "L", 1024, 50, 16),
    "S3": ((16, 16), "RGB", 6144, 32, 512),
}
LEARNING_RATE = 1e-4
WARM_UP = 3


def load(shape):
    """Centred photographs with unit variance, as a tensor."""
    size, mode, *_ = SHAPES[shape]
    rows = load_photographs(1024, size, mode).data
    return torch.from_numpy((rows - rows.mean(axis=0)) / rows.std())


class PlainLoop(torch.nn.Module):
    """nn.Linear, topk, scatter: what one writes first."""

    def __init__(self, n_features, n_components, k):
        super().__init__()
        self.encoder = torch.nn.Linear(n_features, n_components)
        self.decoder = torch.nn.Linear(n_components, n_features)
        self.k = k

    def forward(self, x):
        values, atoms = self.encoder(x).topk(self.k)
        codes = torch.zeros(len(x), self.encoder.out_features).scatter(1, atoms, values.relu())
        return self.decoder(codes)


def plain_loop(shape, n_features):
    _, _, n_components, k, _ = SHAPES[shape]
    model = PlainLoop(n_features, n_components, k)
    return autograd_step(model.parameters(), lambda x: ((model(x) - x) ** 2).mean())


def autograd_step(parameters, loss, learning_rate=LEARNING_RATE):
    """A step of torch.optim.Adam as it comes."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)

    def step(x):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

    return step


def ours(shape, n_features, n_members=1, tied=False):
    _, _, n_components, k, _ = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    shape = n_members, n_components, n_features
    parameters, _ = initial_parameters("random", None, shape, Code(k, True), generator)
    if not tied:
        parameters.encoder = parameters.decoder.copy()
    model, objective = LinearModel(parameters, k=k), Objective()
    return lambda x: model.step(Batch(x), objective, LEARNING_RATE)


def encode_alone(shape, n_features):
    """The floor: the one product that cannot be avoided."""
    _, _, n_components, _, _ = SHAPES[shape]
    weight = torch.randn(n_components, n_features)
    return lambda x: torch.mm(weight, x.T)


def traffic_alone(shape, n_features, tied):
    """The floor of memory: what an exact step must read and write of the weights, and that product.

    Atoms that a batch picks are read by each row that picks them, and written with both moments.
    Momentum moves all other atoms of the encoder, whose moments are only read; and it has moved the
    picked ones of an untied decoder since they were last picked.
    """
    _, _, n_components, k, batch_size = SHAPES[shape]
    encode = encode_alone(shape, n_features)
    picks = encode(load(shape)[:batch_size]).topk(k, dim=0).indices.T.numpy()
    picked, every = np.unique(picks), np.arange(n_components)
    others = np.setdiff1d(every, picked)
    arrays = np.full((2 - tied, 3, n_components, n_features), 1e-3, np.float32)
    encoder, decoder = arrays[0], arrays[-1]
    jobs = [[(read_all, len(picks), (decoder[0], picks, np.zeros(len(picks), np.float32)))]]
    if not tied:
        jobs.insert(0, [(move_all, len(picked), (decoder, picked, 1))])
        jobs.append([(move_all, len(picked), (decoder, picked, 3))])
    jobs[-1] += [
        (move_all, len(picked), (encoder, picked, 3)),
        (move_all, len(others), (encoder, others, 1)),
    ]
    n_threads = n_threads_for(arrays.size)

    def step(x):
        encode(x)
        for job in jobs:
            kernels.run(job, n_threads)

    return step


@numba.njit(nogil=True, fastmath=True)
def read_all(part, atoms, picks, sums):
    """Read the atoms that some rows pick."""
    for i in range(part.begin, part.end):
        total = np.float32(0)
        for atom in picks[i]:
            row = atoms[atom]
            for d in range(len(row)):
                total += row[d]
        sums[i] = total


@numba.njit(nogil=True, fastmath=True)
def move_all(part, arrays, picked, n_written):
    """Read some atoms of weights and moments, and write the first n_written of these arrays."""
    for i in range(part.begin, part.end):
        weight, first, second = arrays[0][picked[i]], arrays[1][picked[i]], arrays[2][picked[i]]
        if n_written == 1:
            for d in range(len(weight)):
                weight[d] += first[d] + second[d]
        else:
            for d in range(len(weight)):
                m, v = first[d], second[d]
                weight[d] += m + v
                first[d] = np.float32(0.9) * m
                second[d] = np.float32(0.999) * v


def overcomplete(shape, n_features):
    from overcomplete.sae import TopKSAE

    _, _, n_components, k, _ = SHAPES[shape]
    model = TopKSAE(n_features, nb_concepts=n_components, top_k=k)
    return autograd_step(model.parameters(), lambda x: ((model(x)[2] - x) ** 2).mean())


def dictionary_learning(shape, n_features):
    from dictionary_learning.trainers.top_k import TopKTrainer

    _, _, n_components, k, _ = SHAPES[shape]
    trainer = TopKTrainer(
        steps=1000, activation_dim=n_features, dict_size=n_components, k=k, layer=0,
        lm_name="", seed=0, device="cpu", lr=LEARNING_RATE, warmup_steps=0,
    )  # fmt: skip
    count = iter(range(10**9))
    return lambda x: trainer.update(next(count), x)


def sparsify(shape, n_features):
    from sparsify import SparseCoder, SparseCoderConfig

    _, _, n_components, k, _ = SHAPES[shape]
    model = SparseCoder(n_features, SparseCoderConfig(num_latents=n_components, k=k))
    return autograd_step(model.parameters(), lambda x: model(x).fvu)


def sae_lens(shape, n_features):
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput

    _, _, n_components, k, _ = SHAPES[shape]
    model = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=n_features, d_sae=n_components, k=k))

    def loss(x):
        return model.training_forward_pass(
            TrainStepInput(
                sae_in=x,
                coefficients={},
                dead_neuron_mask=None,
                n_training_steps=0,
                is_logging_step=False,
            )
        ).loss

    return autograd_step(model.parameters(), loss)


CONTENDERS = {
    "plain loop": plain_loop,
    "skl_sae, untied": ours,
    "skl_sae, tied": lambda *args: ours(*args, tied=True),
    "skl_sae, 3 untied members": lambda *args: ours(*args, n_members=3),
    "skl_sae, 3 tied members": lambda *args: ours(*args, n_members=3, tied=True),
    "overcomplete": overcomplete,
    "dictionary-learning": dictionary_learning,
    "sparsify": sparsify,
    "sae-lens": sae_lens,
    "encode product alone": encode_alone,
    "memory traffic alone, untied": lambda *args: traffic_alone(*args, tied=False),
    "memory traffic alone, tied": lambda *args: traffic_alone(*args, tied=True),
}


def build(shape, n_features, names=tuple(CONTENDERS)):
    """Steps of those contenders that can be imported."""
    steps = {}
    for name in names:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                steps[name] = CONTENDERS[name](shape, n_features)
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
    return steps


def batches(rows, shape, seed=0):
    """Random batches without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield rows[torch.randint(len(rows), (SHAPES[shape][-1],), generator=generator)]


def measure(shape, n_rounds):
    """Median seconds a step of each contender, and the median of each round's ratio."""
    rows = load(shape)
    n_steps = 4 if shape == "S1" else 12
    times = {name: [] for name in build_names(shape, rows)}
    steps = build(shape, rows.shape[1], times)
    for _ in range(n_rounds):
        for name, step in steps.items():
            # Drawn before: threads of torch's operators spin on for a while, on the cores of ours.
            drawn, taken = list(islice(batches(rows, shape), WARM_UP + n_steps)), []
            for x in drawn:
                start = time.perf_counter()
                step(x)
                taken.append(time.perf_counter() - start)
            times[name].append(statistics.median(taken[WARM_UP:]))
    return times


def build_names(shape, rows):
    """Names of the contenders that take a step; one that fails is named and left out."""
    names = []
    for name, step in build("S2", 4096).items():
        try:
            step(torch.randn(16, 4096))
            names.append(name)
        except Exception as error:
            print(f"{name} left out: {type(error).__name__}: {error}", file=sys.stderr)
    return names


def report_memory(shape, name):
    """Peak memory of a few steps above the data and the imports; run in its own process."""
    rows = load(shape)
    stream = batches(rows, shape)
    # The compiler and torch's own set-up are no part of a step's memory.
    for warm in ("plain loop", name):
        build("S2", 64, [warm])[warm](torch.randn(16, 64))
    before = peak_memory()
    step = build(shape, rows.shape[1], [name])[name]
    for _ in range(4):
        step(next(stream))
    print(peak_memory() - before)


def peak_memory():
    """Bytes this process has held at most."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux, where the other figure includes the parent's memory
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) * 1024


def measure_memory(shape, name):
    command = [sys.executable, __file__, "--memory-of", shape, name]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def parameter_bytes(shape, n_features, name):
    """Bytes of the weights and Adam's two moments."""
    n_components = SHAPES[shape][2]
    members = 3 if "3" in name else 1
    matrices = 1 if "tied" in name and "untied" not in name else 2
    return 4 * 3 * matrices * members * n_components * n_features


def print_table(shape, times, memory):
    size, mode, n_components, k, batch_size = SHAPES[shape]
    n_features = size[0] * size[1] * (3 if mode == "RGB" else 1)
    print(
        f"\n**{shape}**: {n_features} features, {n_components} atoms, k {k}, batch {batch_size}\n"
    )
    print("| | step, ms | rows/s | plain loop's time / this | peak memory, MB | / parameters |")
    print("|---|---|---|---|---|---|")
    plain = times["plain loop"]
    for name, taken in times.items():
        ratio = statistics.median(p / t for p, t in zip(plain, taken, strict=True))
        step = statistics.median(taken)
        cells = f"{step * 1e3:.1f} | {batch_size / step:.0f} | {ratio:.1f}"
        if memory.get(name):
            relative = memory[name] / parameter_bytes(shape, n_features, name)
            # Weights and two moments count as 3.
            cells += f" | {memory[name] / 1e6:.0f} | {3 * relative:.2f}"
        else:
            cells += " | | "
        print(f"| {name} | {cells} |")
    single, three = times["skl_sae, untied"], times["skl_sae, 3 untied members"]
    cost = statistics.median(t / s for s, t in zip(single, three, strict=True))
    print(f"\nThree members cost {cost:.2f} times one.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        report_memory(*options.memory_of)
        return
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, medians of {options.rounds} interleaved rounds"
    )
    for shape in options.shapes:
        times = measure(shape, options.rounds)
        memory = {}
        if not options.skip_memory:
            names = [name for name in times if "alone" not in name]
            memory = {name: measure_memory(shape, name) for name in names}
        print_table(shape, times, memory)


if __name__ == "__main__":
    main()
