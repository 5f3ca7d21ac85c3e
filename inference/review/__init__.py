"""How sure a matte is, and why not: a score from signals that cost next to nothing beside the network."""
