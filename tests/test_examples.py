"""What the README shows runs as it is."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.touches_globals("NumPy's generator")
def test_readme_runs():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert names["codes"].shape == (200, 3072)
    assert names["sae"].score(names["test"]) > 0.8
