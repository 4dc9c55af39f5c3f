"""Seeding density of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyptv.measures.frames import NX, NY, MatchedFrame


@dataclass(frozen=True)
class Density:
    """Particles and spots of an image. Means over frames and cameras."""

    particles: float
    """Per frame."""
    targets: float
    """Per image."""
    per_pixel: float
    """Targets per pixel of the part of the image that holds targets (ppp)."""
    spot: float
    """Mean extent of a target [px]."""
    overlapping: float
    """Share of spots that come nearer than their extent to another one, were they spread at random: 1 - exp(-ppp pi spot^2)."""


def density(frames: Sequence[MatchedFrame]) -> Density:
    """The density of some matched frames."""
    images = [targets for frame in frames for targets in frame.targets if len(targets) > 1]
    if not images:
        return Density(0.0, 0.0, 0.0, 0.0, 0.0)
    covered = [np.prod(np.ptp(np.percentile(rows[:, 1:3], (1, 99), axis=0), axis=0)) / 0.98**2 for rows in images]
    spot = float(np.mean([rows[:, NX : NY + 1].mean() for rows in images]))
    per_pixel = float(np.mean([len(rows) / max(area, 1.0) for rows, area in zip(images, covered, strict=True)]))
    overlapping = 1.0 - math.exp(-per_pixel * math.pi * spot**2)
    particles = float(np.mean([len(frame.position) for frame in frames]))
    return Density(particles, float(np.mean([len(rows) for rows in images])), per_pixel, spot, overlapping)
