"""Image files: opening within limits, and the meaning of their grey values."""
