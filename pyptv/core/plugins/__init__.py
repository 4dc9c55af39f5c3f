"""External code: hooks in the sequence step, and PyPTV's plugins."""
