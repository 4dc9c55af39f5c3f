"""Parameters: reading both dialects, checks, and the meaning of each."""
