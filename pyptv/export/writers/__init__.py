"""One module per format, each with ``write(dataset, path)``."""
