"""From arrivals to jobs in the queue, and the comparison of source and sink that finds what events have missed."""
