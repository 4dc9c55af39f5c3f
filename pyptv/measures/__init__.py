"""Quantities that can be measured without a truth, for the advice and the report.

Each measure takes arrays or :class:`~pyptv.measures.frames.MatchedFrame` objects and returns a frozen dataclass:

    frames        matched frames, read from result files or made by a workbench
    bench         the engines on a few frames in memory, with any parameters
    detection     targets over the threshold, sizes, brightness, peak locking
    reprojection  targets against the projections of their particles: over the image, over time
    anew          frames taken apart and put together anew, so that it is known what belongs together
    chance        matches of chance among those that were found
    pairs         particles of two cameras that are accidents, by how far their rays miss each other
    likeness      how alike, large and bright the targets of a particle are
    motion        displacements and accelerations above the chance level
    noise         noise of a position, from differences in time
    linking       the tracker's own links, and those that it makes by chance
    density       particles per pixel, overlapping spots
"""
