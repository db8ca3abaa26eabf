"""What runs on Lava's own Python: NumPy, Lava and the standard library, nothing of hetero but this folder."""
