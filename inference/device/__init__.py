"""The device thread, and everything about a device that is not the model: memory, copies, CUDA graphs, warm-up."""
