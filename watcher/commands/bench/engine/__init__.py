"""How fast a machine cuts out pictures: the seed article's tables, stages, sweeps, codecs; reports and charts of it.

Knows pictures and devices alone. What needs the daemon as a whole is in `watcher.commands.bench`.
"""
