"""What is done to a range of frames."""
