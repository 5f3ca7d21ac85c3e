"""alphadrop's daemon: where images come from, where they go, and what became of each."""
