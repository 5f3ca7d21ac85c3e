"""`alphadrop bench`: measures this machine, the daemon as a whole included, and writes a report."""
