"""Ids as packed numbers: numpy, loaded at its first use, and what is done with numbers by the million. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.uint32]
    """Client ids, ascending and each once."""
else:

    class _Numpy:
        """A run with nothing to compare must not pay for loading it."""

        def __getattr__(self, name: str) -> Any:
            import numpy as loaded  # noqa: ICN001  # `np` is this object

            return getattr(loaded, name)

    np = _Numpy()
    Ids = Any

__all__ = ["Ids", "np"]
