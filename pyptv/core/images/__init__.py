"""Image files: opened within bounds, and what their grey values mean."""
