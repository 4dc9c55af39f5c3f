"""The steps of the dense method, done to a range of frames: images to particles, particles to links, both to result files."""
