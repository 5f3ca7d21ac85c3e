"""`alphadrop bench`: measures what pictures cost on this machine and how fast the daemon is, and writes a report.

`sections/` has a module for each section of the report, named as for `--only`; `peers/` is `bench peers`. Sections
measure through `engine/` (the engine and codecs alone, in processes of their own) and `daemon/` (`alphadrop once` as a
whole).
"""
