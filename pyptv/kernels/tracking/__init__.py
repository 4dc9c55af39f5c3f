"""Tracking: one step from frame to frame."""
