"""Quadruplets, triplets and pairs: targets that are all candidates of each other, the best taken first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyptv.kernels.candidates import Candidates, grown
from pyptv.kernels.jit import inner
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Found = tuple[Integers, Floats]


@inner
def find_quadruplets(base: Integers, candidates: Candidates, corrmin: float) -> Found:
    """All quadruplets of targets that are candidates of each other: (n, 4) targets, counted in their camera, and qualities (n,)."""
    first, last, partner = candidates.first, candidates.last, candidates.partner
    longest = first.shape[2]
    in_3, in_4 = np.empty((longest + 1, 2), np.int64), np.empty((longest + 1, 2), np.int64)
    closing, edges = np.empty(longest, np.int64), np.empty(6, np.int64)
    members, quality = np.empty((longest + 1, 4), np.int64), np.empty(longest + 1)
    n = 0
    for target in range(base[1]):
        for edges[0] in range(first[0, 1, target], last[0, 1, target]):
            second = partner[edges[0]]
            n_3 = _common(candidates, 0, target, 1, second, 2, in_3)
            n_4 = _common(candidates, 0, target, 1, second, 3, in_4) if n_3 else 0
            for k in range(n_3 if n_4 else 0):
                edges[1], edges[3] = in_3[k, 0], in_3[k, 1]
                third = partner[edges[1]]
                _close(candidates, third, in_4, n_4, closing)
                for m in range(n_4):
                    edges[2], edges[4], edges[5] = in_4[m, 0], in_4[m, 1], closing[m]
                    if closing[m] >= 0:
                        members[n, 0], members[n, 1], members[n, 2], members[n, 3] = target, second, third, partner[edges[2]]
                        quality[n] = _quality(candidates, edges)
                        n += quality[n] > corrmin
                        members, quality = _with_room(members, quality, n)
    return members[:n], quality[:n]


@inner
def find_triplets(base: Integers, candidates: Candidates, used: Flags, corrmin: float) -> Found:
    """All triplets of targets that are left: (n, n_cams) targets, -1 for the camera that is not in it, and qualities (n,)."""
    first, last, partner = candidates.first, candidates.last, candidates.partner
    n_cams, longest = first.shape[0], first.shape[2]
    in_c = np.empty((longest + 1, 2), np.int64)
    edges = np.empty(3, np.int64)
    members, quality = np.empty((longest + 1, n_cams), np.int64), np.empty(longest + 1)
    n = 0
    for a in range(n_cams):
        for target in range(base[a + 1] - base[a]):
            if used[base[a] + target]:
                continue
            for b in range(a + 1, n_cams):
                for edges[0] in range(first[a, b, target], last[a, b, target]):
                    second = partner[edges[0]]
                    if used[base[b] + second]:
                        continue
                    for c in range(b + 1, n_cams):
                        for k in range(_common(candidates, a, target, b, second, c, in_c)):
                            edges[1], edges[2] = in_c[k, 0], in_c[k, 1]
                            members[n] = -1
                            members[n, a], members[n, b], members[n, c] = target, second, partner[edges[1]]
                            quality[n] = _quality(candidates, edges)
                            n += (quality[n] > corrmin) & (not used[base[c] + partner[edges[1]]])
                            members, quality = _with_room(members, quality, n)
    return members[:n], quality[:n]


@inner
def find_pairs(base: Integers, candidates: Candidates, used: Flags, corrmin: float) -> Found:
    """All pairs of targets that are left, of which the first has a single candidate: as :func:`find_triplets`."""
    first, last, partner = candidates.first, candidates.last, candidates.partner
    n_cams, longest = first.shape[0], first.shape[2]
    members, quality = np.empty((longest + 1, n_cams), np.int64), np.empty(longest + 1)
    n = 0
    for a in range(n_cams):
        for b in range(a + 1, n_cams):
            for target in range(base[a + 1] - base[a]):
                edge = first[a, b, target]
                if used[base[a] + target] or last[a, b, target] - edge != 1:
                    continue
                second = partner[edge]
                if used[base[b] + second]:
                    continue
                members[n] = -1
                members[n, a], members[n, b] = target, second
                quality[n] = candidates.grade[edge] / candidates.distance[edge]
                n += quality[n] > corrmin
                members, quality = _with_room(members, quality, n)
    return members[:n], quality[:n]


@inner
def _common(candidates: Candidates, a: int, one: int, b: int, other: int, camera: int, edges: Integers) -> int:
    """Common candidates of two targets in a third camera: their places in both lists go to ``edges``; returns how many."""
    i, i_end = candidates.first[a, camera, one], candidates.last[a, camera, one]
    j, j_end = candidates.first[b, camera, other], candidates.last[b, camera, other]
    n = 0
    while i < i_end and j < j_end:  # without branches inside: which list comes first is a coin toss
        difference = candidates.partner[i] - candidates.partner[j]
        edges[n, 0], edges[n, 1] = i, j
        n += difference == 0
        i += difference <= 0
        j += difference >= 0
    return n


@inner
def _quality(candidates: Candidates, edges: Integers) -> float:
    """Sum of the grades by sum of the distances."""
    grade = distance = 0.0
    for edge in edges:
        grade += candidates.grade[edge]
        distance += candidates.distance[edge]
    return grade / distance


@inner
def _close(candidates: Candidates, third: int, in_4: Integers, n_4: int, closing: Integers) -> None:
    """Where the targets of ``in_4`` stand among the third target's candidates in the fourth camera goes to ``closing``, or -1."""
    edge, end = candidates.first[2, 3, third], candidates.last[2, 3, third]
    for m in range(n_4):
        fourth = candidates.partner[in_4[m, 0]]
        while edge < end and candidates.partner[edge] < fourth:
            edge += 1
        closing[m] = edge if edge < end and candidates.partner[edge] == fourth else -1


@inner
def _with_room(members: Integers, quality: Floats, n: int) -> Found:
    """The same arrays, or longer copies, so that there is room for one more after ``n``."""
    if n < len(quality):
        return members, quality
    longer = np.empty((2 * n + 1, members.shape[1]), np.int64)
    for index in range(n):
        for camera in range(members.shape[1]):
            longer[index, camera] = members[index, camera]
    return longer, grown(quality)


@inner
def take_best(base: Integers, members: Integers, quality: Floats, used: Flags, rows: Integers, total: int) -> int:
    """Take correspondences by quality while none of their targets is used, and append them to ``rows``.

    Returns:
        The new number of correspondences, of which there were ``total``.
    """
    for index in descending(quality):
        free = True
        for camera in range(members.shape[1]):
            target = members[index, camera]
            free = free and not (target >= 0 and used[base[camera] + target])
        if free:
            for camera in range(members.shape[1]):
                target = members[index, camera]
                rows[total, camera] = target
                if target >= 0:
                    used[base[camera] + target] = True
            total += 1
    return total
