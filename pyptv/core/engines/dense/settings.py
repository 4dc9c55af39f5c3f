"""The parameters of the reconstruction: few, and their defaults need no touching."""

from __future__ import annotations

from dataclasses import dataclass, replace

_MANY = 3
"""Passes of frames that are crowded."""


@dataclass(frozen=True)
class Settings:
    """Of :func:`pyptv.core.engines.dense.reconstruct.reconstruct`. Intensities are shares of the median particle's."""

    searches: int = 8
    """Searches in the residual for particles that all cameras see, at most."""
    reduced_searches: int = 20
    """Searches after that, in which one camera of four may lack a peak, at most."""
    few: float = 0.01
    """Share of all particles below which the new ones that stay end a kind of search early,"""
    few_of_new: float = 0.15
    """and share of the new ones."""
    shakes: int = 4
    """Rounds of shaking after each search."""
    last_shakes: int = 8
    """Rounds after the last one."""
    tolerance: float = 0.8
    """Largest distance of a peak from the projection of its particle [px], what noise adds to that aside."""
    noise_factor: float = 2.5
    """Smallest peak of the residual that counts, in standard deviations of its noise, with four cameras. With fewer it is larger:
    together they have to be as far from the noise, and chance makes far more pairs and triples of peaks than quadruples."""
    faint_factor: float = 1.5
    """The same in the smoothed residual, when one camera may lack a peak."""
    by_chance: float = 0.1
    """Then groups of peaks count of which chance would make at most as many in a frame."""
    bright: float = 0.1
    """Where a camera lacks a peak its image must be brighter than that share of the median intensity."""
    weakest_peak: float = 0.1
    """Peaks of the residual count from that share of the median intensity on."""
    weakest: float = 0.1
    """Particles with less than that intensity are dropped."""
    weakest_last: float = 0.15
    """The same after the last shaking."""
    unsure: float = 3.5
    """Particles are dropped whose joint intensity is below this multiple of its error by noise."""
    unsure_last: float = 5.5
    """The same after the last shaking, of particles that were not known from the frames around."""
    weakest_camera: float = 0.05
    """Particles with less than that in any camera are dropped."""
    merge: float = 1.0
    """Of two particles nearer than that in all images the weaker one is dropped [px]."""
    merge_sure: float = 0.5
    """The same of two that were fitted in an earlier pass, or that one particle was divided into."""
    tie: float = 3.0
    """Weight of the joint intensity over what a camera alone says."""
    largest_step: float = 0.7
    """Largest movement of a particle in a round [px]."""
    still: float = 0.02
    """Particles near which nothing has moved farther than that are not shaken again [px]."""
    tile: int = 32
    """Side of the tiles whose medians make the background [px]."""

    @staticmethod
    def of_first_pass() -> Settings:
        """Of a pass that another one follows, which goes on from its fits: what time knows saves searches there."""
        return Settings(few=0.002)

    @staticmethod
    def of_pass(number: int, passes: int) -> Settings:
        """Of one of the passes over a frame.

        Of three or more, those but the last let more in that is doubtful: the next one drops what has no link.
        """
        if number == passes:
            return Settings()
        first = Settings.of_first_pass()
        return replace(first, by_chance=1.0) if passes >= _MANY else first
