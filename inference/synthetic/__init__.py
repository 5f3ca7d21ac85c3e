"""Procedural pictures with exact mattes for training: flat drawings and solid objects on backgrounds of all kinds."""

from .repertoire import DRAWN, EVERYTHING, SOLID, Repertoire
from .scene import Sample, SampleStream, render_sample

__all__ = ["DRAWN", "EVERYTHING", "SOLID", "Repertoire", "Sample", "SampleStream", "render_sample"]
