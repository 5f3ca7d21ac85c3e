"""Measurements of the daemon as a whole: runs of `alphadrop once`, observed from outside."""
