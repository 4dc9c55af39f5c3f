"""What detects, matches and links: optv's C code, or compiled kernels."""
