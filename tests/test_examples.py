"""The README's code and the examples run as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from skl_sae.datasets import make_cells

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# The studies that print held-out figures; `make docs` runs these and all others, so in `make test`
# each example runs once.
EXAMPLES = ["plot_photographs", "plot_small_sample"]


@pytest.mark.slow
@pytest.mark.touches_globals("NumPy's generator")
def test_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_cells("folder", size=100)
    names = {}
    readme = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    (printed,) = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    assert capsys.readouterr().out == printed
    assert names["codes"].shape == (39, 256)


def test_readme_links_lead_somewhere():
    readme = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", readme) + re.findall(r'src(?:set)?="([^"]+)"', readme)
    assert len(links) > 4
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_without_a_warning(name, tmp_path):
    path = ROOT / "examples" / f"{name}.py"
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-W", "error::FutureWarning", path],
        cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    held_out = [
        float(figure) for figure in re.findall(r"(?m)^[Hh]eld out\D*(0\.\d+)", result.stdout)
    ]
    assert held_out and min(held_out) > 0.85
    assert not list(tmp_path.iterdir())
