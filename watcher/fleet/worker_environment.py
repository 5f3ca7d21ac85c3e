"""The environment that a process with an engine is started with; what is set already counts more. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_MIB = 1 << 20

WORKER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # Where the codecs' threads want the cores too, a model's threads that spin while they wait make all slower.
        "OMP_WAIT_POLICY": "passive",
        # Arenas of many threads that hold large pictures are never returned to the kernel, and a second arena lies in
        # heaps of 64 MiB, which glibc returns and requests again several times for each picture.
        "MALLOC_ARENA_MAX": "1",
        # Pictures' buffers are reused instead of being returned after each picture: the kernel clears every
        # page that it hands out. What only pictures beyond some 8 megapixels need is returned at once.
        "MALLOC_MMAP_THRESHOLD_": str(32 * _MIB),
        "MALLOC_TRIM_THRESHOLD_": str(128 * _MIB),
        # Pages of 2 MiB where the kernel has them to give (glibc 2.35; older ones and other libraries ignore it).
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        # A kernel of CUDA is loaded when it is launched first, in the warm-up: all of them take hundreds of megabytes.
        "CUDA_MODULE_LOADING": "LAZY",
    }
)
