"""What the README shows runs as it is."""

import re
from pathlib import Path

import pytest

from skl_sae.datasets import make_cells

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.touches_globals("NumPy's generator")
def test_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cells("folder", size=100)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    assert names["codes"].shape == (39, 256)
    assert names["sae"].score(names["test"]) > 0.8
