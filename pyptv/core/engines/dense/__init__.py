"""The dense method: particles from the images themselves, frame by frame, and links by prediction."""
