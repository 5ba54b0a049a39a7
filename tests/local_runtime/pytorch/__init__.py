"""torch models in fixed shapes, on a CPU; ``capture`` finds what a CUDA graph could not record."""
