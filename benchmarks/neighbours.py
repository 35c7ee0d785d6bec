"""Time that a fit takes while other processes want the same cores.

The busy processes do nothing but count, at the priority of the fit, and end with this one. Fits
with all threads and with one take turns. Run as

    python benchmarks/neighbours.py [--busy 0 1 2] [--rounds 3]

What is printed is a Markdown table. Seconds are medians.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


def fit_photographs():
    from skl_sae.datasets import load_photographs

    return load_photographs(300, (32, 32)).data, {"n_components": 768, "max_iter": 5}


def fit_digits():
    from sklearn.datasets import load_digits

    return load_digits().data, {"max_iter": 3}


FITS = {"photographs": fit_photographs, "digits": fit_digits}


def report_seconds(name):
    """Seconds of a fit each time that a line comes in; run in its own process."""
    from skl_sae import TopKSparseAutoencoder

    X, parameters = FITS[name]()
    sae = TopKSparseAutoencoder(**parameters, device="cpu", random_state=0)
    sae.fit(X)
    for _ in sys.stdin:
        begin = time.perf_counter()
        sae.fit(X)
        print(time.perf_counter() - begin, flush=True)


@contextlib.contextmanager
def child(*arguments, **environment):
    """A process that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def measure(name, n_busy, n_rounds):
    """Seconds by all threads and by one, in turns."""
    seconds = {"all": [], "one": []}
    with contextlib.ExitStack() as stack:
        fit = __file__, "--fit", name
        fits = {
            "all": stack.enter_context(child(*fit)),
            "one": stack.enter_context(child(*fit, OMP_NUM_THREADS="1")),
        }
        for process in fits.values():  # is there when it has warmed up
            seconds_of_one_fit(process)
        for _ in range(n_busy):
            stack.enter_context(child("-c", BUSY))
        for _ in range(n_rounds):
            for threads, process in fits.items():
                seconds[threads].append(seconds_of_one_fit(process))
    return [statistics.median(taken) for taken in seconds.values()]


def seconds_of_one_fit(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fit", choices=list(FITS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        report_seconds(options.fit)
        return
    print("| fit | busy processes | default, s | OMP_NUM_THREADS=1, s | ratio |")
    print("|---|---|---|---|---|")
    for name in FITS:
        for n_busy in options.busy:
            default, one = measure(name, n_busy, options.rounds)
            print(f"| {name} | {n_busy} | {default:.2f} | {one:.2f} | {default / one:.2f} |")


if __name__ == "__main__":
    main()
