"""The HTTP server: metrics, probes and posted events."""
