"""Removes the old background's colour from semi-transparent pixels: a reference, compiled, and for whole batches."""
