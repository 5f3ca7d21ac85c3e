"""Procedurally drawn pictures with exact mattes, for training, the bench and tests. Not part of the wheel.

`scene` composes a picture. `flat_*` draws objects from lit 2-D shapes, `solid_*` renders them from meshes;
`content_mix` says how often each kind is drawn. Pictures of the held-out splits depend on the order of random draws,
so code here must not change it.
"""

from .content_mix import DRAWN, EVERYTHING, SOLID, ContentMix
from .scene import Sample, SampleStream, render_sample

__all__ = ["DRAWN", "EVERYTHING", "SOLID", "ContentMix", "Sample", "SampleStream", "render_sample"]
