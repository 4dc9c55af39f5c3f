"""Stereo-correspondence: finding targets in several cameras that are images of one particle."""
