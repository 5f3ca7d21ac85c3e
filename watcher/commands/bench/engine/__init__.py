"""Measurements of the engine and the codecs without the daemon, in processes that are set up like a worker's."""
