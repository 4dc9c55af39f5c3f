"""Code of others: hooks in the sequence step, and PyPTV's plugins."""
