"""One training step of the convolutional model beside the same in plain torch.

Everything runs in one process on the same photographs, in turns; peak memory above the data and
the parameters is measured in a process of its own for each. Run as

    python benchmarks/convolution.py [--rounds 5] [--sides 64 128] [--skip-memory]

Atoms are of 16x16 RGB pixels at a stride of 8, 512 of them, with 128 active numbers an image of
64x64, and in proportion to the area of larger ones; batches are of 32. What is printed is a
Markdown table.
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from speed import autograd_step, peak_memory

from skl_sae._engine._conv import ConvModel
from skl_sae._engine._parameters import Batch, Objective, Parameters
from skl_sae._engine._places import Places
from skl_sae.datasets import load_photographs

ATOM, STRIDE, N_ATOMS, BATCH_SIZE = (16, 16, 3), (8, 8), 512, 32
LEARNING_RATE, WARM_UP, N_STEPS = 1e-4, 2, 6


def k_of(side):
    return 128 * side**2 // 64**2


def load(side):
    """Centred photographs with unit variance, as a tensor of rows."""
    rows = load_photographs(64, (side, side)).data
    return torch.from_numpy((rows - rows.mean()) / rows.std())


def first_atoms():
    atoms = np.random.RandomState(0).standard_normal((1, N_ATOMS, np.prod(ATOM)))
    return (atoms / np.linalg.norm(atoms, axis=2, keepdims=True)).astype(np.float32)


class PlainModel(torch.nn.Module):
    """conv2d, topk, conv_transpose2d: what one writes first."""

    def __init__(self, k):
        super().__init__()
        self.encoder = torch.nn.Conv2d(3, N_ATOMS, ATOM[:2], STRIDE, padding=8)
        self.decoder = torch.nn.ConvTranspose2d(N_ATOMS, 3, ATOM[:2], STRIDE, padding=8)
        self.k = k

    def forward(self, x):
        answers = self.encoder(x)
        flat = answers.flatten(1)
        values, indices = flat.topk(self.k)
        codes = torch.zeros_like(flat).scatter(1, indices, values.relu())
        return self.decoder(codes.view_as(answers))


def plain(side):
    model = PlainModel(k_of(side))

    def loss(x):
        x = x.view(len(x), side, side, 3).permute(0, 3, 1, 2)
        return ((model(x) - x) ** 2).mean()

    return autograd_step(model.parameters(), loss, LEARNING_RATE)


def ours(side, tied=False):
    decoder = first_atoms()
    encoder = None if tied else decoder.copy()
    zeros = np.zeros((1, N_ATOMS), np.float32), np.zeros((1, 3), np.float32)
    places = Places((side, side, 3), ATOM, STRIDE)
    model = ConvModel(Parameters(decoder, encoder, *zeros), places=places, k=k_of(side))
    return lambda x: model.step(Batch(x), Objective(), LEARNING_RATE)


CONTENDERS = {
    "plain torch": plain,
    "skl_sae, untied": ours,
    "skl_sae, tied": lambda side: ours(side, tied=True),
}


def measure(side, n_rounds):
    """Seconds of a step in each round, by contender."""
    rows = load(side)
    steps = {name: make(side) for name, make in CONTENDERS.items()}
    times = {name: [] for name in steps}
    for _ in range(n_rounds):
        for name, step in steps.items():
            taken = []
            for _ in range(WARM_UP + N_STEPS):
                x = rows[torch.randint(len(rows), (BATCH_SIZE,))]
                start = time.perf_counter()
                step(x)
                taken.append(time.perf_counter() - start)
            times[name].append(statistics.median(taken[WARM_UP:]))
    return times


def report_memory(side, name):
    """Peak memory of a few steps above data, imports and parameters with their moments."""
    rows = load(side)[:BATCH_SIZE].clone()
    CONTENDERS[name](16)(torch.randn(2, 16 * 16 * 3))  # torch's set-up, and the compiler
    before = peak_memory()
    step = CONTENDERS[name](side)
    for _ in range(3):
        step(rows)
    n_matrices = 1 if name.endswith(" tied") else 2
    n_parameters = n_matrices * N_ATOMS * np.prod(ATOM)
    print(peak_memory() - before - 3 * 4 * n_parameters)


def measure_memory(side, name):
    command = [sys.executable, __file__, "--memory-of", str(side), name]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        report_memory(int(options.memory_of[0]), options.memory_of[1])
        return
    print("| | images | step, ms | plain torch's time / this | peak memory, MB |")
    print("|---|---|---|---|---|")
    for side in options.sides:
        times = measure(side, options.rounds)
        for name, taken in times.items():
            pairs = zip(times["plain torch"], taken, strict=True)
            ratio = statistics.median(plain / this for plain, this in pairs)
            memory = "" if options.skip_memory else f"{measure_memory(side, name) / 1e6:.0f}"
            step = 1e3 * statistics.median(taken)
            print(f"| {name} | {side}x{side} | {step:.1f} | {ratio:.1f} | {memory} |")


if __name__ == "__main__":
    main()
