"""What the daemon reports about itself: metrics, logs, traces, health and the summary of a run."""
