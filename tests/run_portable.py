"""Run the suite as on other processors, and with other numbers of threads; print a table.

    python tests/run_portable.py [SETTING ...]

A SETTING is a variable with a value, or several with commas in between, such as
OMP_NUM_THREADS=1 or ATEN_CPU_CAPABILITY=avx2,NUMBA_CPU_NAME=generic. Without any, all below are
run, one after the other, which takes an hour or more. "another" is one setting that makes all
libraries at once compute as on an older processor than this, as far as they obey here.

Libraries choose their loops by the processor: wider vectors add up in another order, and round
differently. These variables make each choose as elsewhere. Before a run the libraries are asked
whether they obey; if one does not, the run would mean nothing: the table says so instead. Tests
that fail as expected are among the skipped.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = [
    "ATEN_CPU_CAPABILITY=default",
    "ATEN_CPU_CAPABILITY=avx2",
    "NUMBA_CPU_NAME=generic",
    "OPENBLAS_CORETYPE=Haswell",
    "OPENBLAS_CORETYPE=Zen",
    "ONEDNN_MAX_CPU_ISA=AVX2",
    "MKL_ENABLE_INSTRUCTIONS=AVX2",
    "OMP_NUM_THREADS=1",
    "OMP_NUM_THREADS=2",
    "OMP_NUM_THREADS=4",
]
OLDER = [
    "ATEN_CPU_CAPABILITY=avx2,NUMBA_CPU_NAME=generic,OPENBLAS_CORETYPE=Haswell,"
    "ONEDNN_MAX_CPU_ISA=AVX2,MKL_ENABLE_INSTRUCTIONS=AVX2",
    "ATEN_CPU_CAPABILITY=default,NUMBA_CPU_NAME=generic,OPENBLAS_CORETYPE=Nehalem,"
    "ONEDNN_MAX_CPU_ISA=SSE41,MKL_ENABLE_INSTRUCTIONS=SSE4_2",
]

# Left out is what does no arithmetic of its own: pages in a browser, and the site with its
# examples, which `make test` runs.
PYTEST = [
    "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not browser", "--tb=short",
    "--ignore=tests/test_examples.py", "--ignore=tests/test_docstrings.py",
]  # fmt: skip

# Asked in a process of its own. MKL and oneDNN tell only in what they print of their work.
PROBE = """
import json, warnings
import torch
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from numba.core.registry import cpu_target
from threadpoolctl import threadpool_info
import scipy.linalg
ones = torch.ones(64, 64)
if torch.backends.mkldnn.is_available():
    ones.to_mkldnn().to_dense()
ones @ ones
print()
print(json.dumps({
    "ATEN_CPU_CAPABILITY": torch.backends.cpu.get_cpu_capability(),
    "NUMBA_CPU_NAME": cpu_target.target_context.codegen().magic_tuple()[1],
    "OPENBLAS_CORETYPE": " ".join(sorted({
        library["architecture"] for library in threadpool_info()
        if library["internal_api"] == "openblas"
    })),
    "OMP_NUM_THREADS": str(torch.get_num_threads()),
}))
"""
PRINTED = {
    "ONEDNN_MAX_CPU_ISA": r"onednn_verbose\S*info,cpu,isa:(.+)",
    "MKL_ENABLE_INSTRUCTIONS": r"MKL_VERBOSE oneMKL .*?architecture (.+?) ?(?:enabled|with|,|$)",
}
# How they call what they were asked for, where that is another name.
CALLED = {
    "Zen": "Zen|Haswell",  # the wheels of NumPy and SciPy have the same loops for both
    "AVX2": r"AVX2\b|Advanced Vector Extensions 2\b",
    "SSE41": r"SSE4\.1",
    "SSE4_2": r"SSE4\.2|Streaming SIMD Extensions 4\.2",
}


def environment(setting):
    """The variables of a setting, added to those of this process."""
    variables = dict(pair.split("=", 1) for pair in setting.split(",") if pair)
    if "OMP_NUM_THREADS" in variables:
        # Else MKL brings torch down to the number of cores.
        variables["MKL_DYNAMIC"] = "FALSE"
    return {**os.environ, **variables}


def asked(setting):
    """Return what the libraries say that they do under a setting, by variable."""
    verbose = {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment(setting) | verbose,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *printed, told = result.stdout.strip().splitlines()
    answers = json.loads(told)
    for name, pattern in PRINTED.items():
        found = re.search(pattern, "\n".join(printed))
        answers[name] = found[1].strip() if found else "does not tell"
    return answers


def disobeyed(setting, answers):
    """Variables of a setting that have not the effect that they should."""
    for pair in filter(None, setting.split(",")):
        name, value = pair.split("=", 1)
        pattern = CALLED.get(value, re.escape(value))
        obeys = re.search if name in PRINTED else re.fullmatch
        if name in answers and not obeys(pattern, answers[name], re.IGNORECASE):
            yield f"{name} is {answers[name]}"


def another(own):
    """A setting by which libraries compute as on an older processor than `own` tells of."""
    setting = OLDER[0] if own["ATEN_CPU_CAPABILITY"] == "AVX512" else OLDER[1]
    answers = asked(setting)
    ignored = {complaint.split()[0] for complaint in disobeyed(setting, answers)}
    pairs = [pair for pair in setting.split(",") if pair.split("=")[0] not in ignored]
    return ",".join(
        pair for pair in pairs if answers[pair.split("=")[0]] != own[pair.split("=")[0]]
    )


def suite(setting):
    """Run the suite: counts by outcome, names of failed tests, seconds, and what was printed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.xml")
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, *PYTEST, f"--junitxml={path}"], cwd=ROOT, env=environment(setting),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        seconds = time.perf_counter() - start
        cases = list(ET.parse(path).getroot().iter("testcase")) if path.exists() else []
    names = {"failed": [], "skipped": [], "passed": []}
    for case in cases:
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        outcome = "skipped" if "skipped" in kinds else outcome
        names[outcome].append(f"{case.get('classname')}::{case.get('name')}")
    if result.returncode and not names["failed"]:
        names["failed"].append(f"pytest itself, with status {result.returncode}")
    return names, seconds, result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "settings", nargs="*", metavar="SETTING", help='"another", or VARIABLE=VALUE,...'
    )
    settings = parser.parse_args().settings or SETTINGS
    for setting in settings:
        if setting != "another" and not re.fullmatch(r"\w+=[^,=]+(,\w+=[^,=]+)*", setting):
            parser.error(f"Expected VARIABLE=VALUE[,VARIABLE=VALUE...] or another, got {setting!r}")
    own, n_run, any_failed = asked(""), 0, False
    print("| setting | of this machine | passed | failed | skipped | s |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for setting in settings:
        setting = another(own) if setting == "another" else setting
        usual = ", ".join(own.get(pair.split("=")[0], "") for pair in setting.split(","))
        print(f"| {setting.replace(',', ' ')} | {usual} | ", end="", flush=True)
        wrong = list(disobeyed(setting, asked(setting)))
        if wrong:
            print(f"not run: {', '.join(wrong)} | | | |", flush=True)
            continue
        names, seconds, printed = suite(setting)
        n_run += 1
        counts = (str(len(names[key])) for key in ("passed", "failed", "skipped"))
        print(*counts, f"{seconds:.0f} |", sep=" | ", flush=True)
        if names["failed"]:
            any_failed = True
            print(
                printed, *(f"{setting}: {name}" for name in names["failed"]), sep="\n", flush=True
            )
    return int(any_failed or not n_run)


if __name__ == "__main__":
    sys.exit(main())
