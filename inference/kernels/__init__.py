"""What is computed for every pixel between the network and the file, in C, for CPUs.

`kernels.c` is compiled when alphadrop is built or installed (`hatch_build.py`), `library.py` loads the result, and
`kernels_for` says where it is used. Without it, torch does the same, several times as slowly.
"""

from inference.compiled import KernelsUnavailable, without_kernels
from inference.kernels.library import Kernels, kernels_for, kernels_problem

__all__ = ["Kernels", "KernelsUnavailable", "kernels_for", "kernels_problem", "without_kernels"]
