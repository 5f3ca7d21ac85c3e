"""Procedural pictures with exact mattes for training."""

from .scene import Sample, SampleStream, render_sample

__all__ = ["Sample", "SampleStream", "render_sample"]
