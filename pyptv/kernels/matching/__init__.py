"""Stereo-correspondence: which targets of the cameras are images of one particle."""
