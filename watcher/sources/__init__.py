"""Where images come from: folders, listings and messages, each as a stream of arrivals."""
