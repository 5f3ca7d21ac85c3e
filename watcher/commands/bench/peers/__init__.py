"""Comparison with other pipelines that run the same network: a plain script and rembg."""
