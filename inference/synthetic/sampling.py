"""Random draws that all drawing code uses, and the types of its arrays and generators."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Rng = np.random.Generator


def between(rng: Rng, low: float, high: float) -> float:
    """Draw from the uniform distribution between two values."""
    return low + (high - low) * float(rng.random())


def chance(rng: Rng, probability: float) -> bool:
    """Draw True with this probability."""
    return bool(rng.random() < probability)
