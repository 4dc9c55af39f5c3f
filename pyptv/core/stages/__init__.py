"""The processing of a range of frames."""
