"""One training step shared by two processes with one thread each, beside one process with two.

Both work on the same photographs, in turns, so that the ratios hold on a noisy machine. Run as

    python benchmarks/processes.py [--rounds 5] [--steps 30] [--cases S1 "S1 members" S3]

AuxK is off, and encoders are untied. What is printed is a Markdown table: besides the time on the
clock that of cores, which neighbours change less. Where cores are free, two processes take as long
as the slower of them and its waiting, and one process half of its cores' time at best.
"""

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import time

import torch
import torch.distributed as dist
from speed import LEARNING_RATE, SHAPES, load

from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Batch, Objective
from skl_sae._engine._parts import Parts
from skl_sae._engine._sharded_atoms import AtomShards
from skl_sae._engine._sharded_members import MemberShards
from skl_sae._engine.init._start import Code, initial_parameters
from skl_sae._training import _collective

# Shape of `speed.py`, members, and whether each is kept whole by a rank; None: as in a fit.
CASES = {
    "S1": ("S1", 1, None),
    "S1, 2 members": ("S1", 2, None),
    "S1, 3 members": ("S1", 3, None),
    "S1, 3 members by atoms": ("S1", 3, False),
    "S3": ("S3", 1, None),
}
WARM_UP = 3
N_RANKS = 2
# Of the prediction: ranks, bytes a second, seconds to another machine.
MANY_RANKS = 2, 8, 64, 512
BANDWIDTH, LATENCY = 10e9 / 8, 50e-6


def model_of(case, n_features, ranks=None):
    """Model of a case, or this rank's part of it."""
    shape, n_members, by_members = CASES[case]
    _, _, n_components, k, _ = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    shape = n_members, n_components, n_features
    parameters, _ = initial_parameters("random", None, shape, Code(k, True), generator)
    parameters.encoder = parameters.decoder.copy()
    if ranks is None:
        return LinearModel(parameters, k=k)
    parts = Parts(shape, ranks.size, ranks.rank, by_members)
    kind = MemberShards if parts.by_members else AtomShards
    return kind(parameters, k=k, ranks=ranks, parts=parts)


def seconds(model, rows, batch_size, n_steps):
    """Seconds of a step, and seconds of cores that this process used, the mean of some."""
    start = torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.float64)
    for i in range(n_steps):
        first = i * batch_size % (len(rows) - batch_size + 1)
        model.step(Batch(rows[first : first + batch_size]), Objective(), LEARNING_RATE)
    end = torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.float64)
    return (end - start) / n_steps


def alternate(case, n_rounds, n_steps):
    """Times of the rounds: of the ranks, and of rank 0 alone with two threads."""
    shape = CASES[case][0]
    rows = load(shape)
    rank, batch_size = dist.get_rank(), SHAPES[shape][4]
    collective = _collective.Collective(case)
    collective.join()
    models = [model_of(case, rows.shape[1], collective)]
    if rank == 0:
        models.append(model_of(case, rows.shape[1]))
    times = [[], []]
    for i in range(n_rounds + 1):
        for is_alone, found in enumerate(times):
            dist.barrier()
            if is_alone and rank:
                continue
            torch.set_num_threads(1 + is_alone)
            step = seconds(models[is_alone], rows, batch_size, n_steps if i else WARM_UP)
            if not is_alone:
                used = collective.gather(step[1:])  # the slowest rank decides on free cores
                step = torch.cat([step, used.max()[None]])
                step[1] = used.sum()
            if i:
                found.append(step.tolist())
    dist.barrier()
    collective.leave()
    return times


def median_ms(times, i):
    """Median of one kind of time over rounds."""
    return 1e3 * statistics.median(step[i] for step in times)


def predicted_ms(case, n_ranks, of_one, of_two):
    """Milliseconds of a step, from those of cores of one rank and of two; and those of messages."""
    size, mode, _, k, n_rows = SHAPES[CASES[case][0]]
    n_features = size[0] * size[1] * (3 if mode == "RGB" else 1)
    spread = 2 * (of_one - of_two)
    gathered = (n_ranks - 1) * n_rows * k * 8
    added = 2 * (1 - 1 / n_ranks) * 4 * n_features * (n_rows + 1)
    messages = (gathered + added) / BANDWIDTH + 3 * math.log2(n_ranks) * LATENCY
    return of_one - spread + spread / n_ranks + 1e3 * messages, 1e3 * messages


def print_prediction(measured):
    print("\n| case | " + " | ".join(f"{n} ranks, ms (messages)" for n in MANY_RANKS) + " |")
    print("|---|" + "---|" * len(MANY_RANKS))
    for case, of_one, of_two in measured:
        cells = (predicted_ms(case, n, of_one, of_two) for n in MANY_RANKS)
        print(
            f"| {case} | " + " | ".join(f"{all_:.1f} ({part:.1f})" for all_, part in cells) + " |"
        )


def work(arguments):
    """Measure as one of the ranks; the first prints."""
    dist.init_process_group("gloo")
    measured = []
    for case in arguments.cases:
        shared, alone = alternate(case, arguments.rounds, arguments.steps)
        if dist.get_rank() == 0:
            ratio = statistics.median(b[0] / a[0] for a, b in zip(shared, alone, strict=True))
            of_cores = (alone, 1), (shared, 1), (shared, 2)
            numbers = [median_ms(alone, 0), median_ms(shared, 0)]
            cells = [f"{number:.1f}" for number in numbers] + [f"{ratio:.2f}"]
            cells += [f"{median_ms(times, i):.1f}" for times, i in of_cores]
            print(f"| {' | '.join([case, *cells])} |", flush=True)
            if CASES[case][1] == 1:
                measured.append((case, median_ms(alone, 1), median_ms(shared, 2)))
    if measured:
        print_prediction(measured)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        return work(arguments)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}\n")
    print("| case | one process, ms a step | two processes | speed of two | ", end="")
    print("cores: one process, ms | two processes | the slower of them |")
    print("|---|---|---|---|---|---|---|", flush=True)
    launch = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(N_RANKS)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launch, *sys.argv], env=environment, check=True)


if __name__ == "__main__":
    main()
