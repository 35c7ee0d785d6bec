"""Types of what users give and get, and decorators of scikit-learn's that keep those of functions.

scikit-learn has no types, and SciPy has them elsewhere. To type checkers these are `Any`.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import _fit_context as untyped_fit_context
from sklearn.utils._param_validation import validate_params as untyped_validate_params

if TYPE_CHECKING:
    from PIL.Image import Image


class Sliced(Protocol):
    """Samples that are read when they are asked for, by ``X[start:stop]``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, part: slice, /) -> Any: ...


Samples: TypeAlias = ArrayLike | Sequence["Image"] | Sequence[np.ndarray] | Sliced
SparseOrDense: TypeAlias = ArrayLike | sp.sparray | sp.spmatrix
# CSR codes, or the array or data frame that parameters ask for: whoever asks knows which.
Codes: TypeAlias = sp.csr_matrix | Any
AnyPath: TypeAlias = str | os.PathLike[str]
Shape: TypeAlias = tuple[int, ...] | list[int]
RandomState: TypeAlias = int | np.random.RandomState | None

_Function = TypeVar("_Function", bound=Callable[..., Any])
_fit_context: Callable[..., Callable[[_Function], _Function]] = untyped_fit_context
validate_params: Callable[..., Callable[[_Function], _Function]] = untyped_validate_params
