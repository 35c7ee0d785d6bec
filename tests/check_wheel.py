"""Build the wheel, unpack it elsewhere and use it from there."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

USE = """
import sys
from pathlib import Path
import numpy as np
import skl_sae, skl_sae.datasets, skl_sae.report
assert skl_sae.__file__.startswith(sys.argv[1]), skl_sae.__file__
assert Path(skl_sae.__file__).with_name("py.typed").is_file()
X = skl_sae.datasets.load_photographs(20, size=(8, 8)).data
sae = skl_sae.TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit(X)
assert np.isfinite(sae.score(X))
assert "<html" in skl_sae.report.SAEReport(sae, X, image_shape=(8, 8, 3)).html()
print("The wheel of skl_sae", skl_sae.__version__, "works from outside the checkout.")
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        wheels, site = folder / "wheels", folder / "site"
        python = [sys.executable, "-m"]
        build = [*python, "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = wheels.glob("*.whl")
        install = [*python, "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
        subprocess.run([*install, "--disable-pip-version-check"], check=True)
        use = f"import sys; sys.path.insert(0, {str(site)!r})\n" + USE
        subprocess.run([sys.executable, "-W", "error", "-c", use, site], check=True, cwd=folder)


if __name__ == "__main__":
    main()
