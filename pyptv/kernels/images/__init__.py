"""From an image to its targets."""
