"""numpy, loaded when it is first used, and the types of its arrays.

Loading takes 80 ms, which a run with nothing to compare must not pay; a plan without ids needs no numbers.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Ids", "Numbers", "np"]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.uint32]
    """Client ids, ascending and each once."""
    Numbers = npt.NDArray[Any]
    """A column of numbers."""
else:
    Ids = Numbers = Any

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            """Return what numpy has of this name; after the first call, nothing comes here any more for it."""
            import numpy as loaded  # noqa: ICN001  # `np` is this object

            value = getattr(loaded, name)
            setattr(self, name, value)
            return value

    np = _Numpy()
