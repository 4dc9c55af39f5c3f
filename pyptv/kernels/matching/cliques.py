"""Quadruplets, triplets and pairs: targets that are all candidates of each other, the best selected first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyptv.kernels.jit import inner, leaf, number
from pyptv.kernels.matching.candidates import COMBINATION, MOST, MOST_TRIED, Candidates, TooManyError, TooMuchWorkError, grown
from pyptv.kernels.ordering import descending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Found = tuple[Integers, Floats]


class Workspace(NamedTuple):
    """Memory for the common candidates of two targets: places in both lists."""

    third: Integers
    """(longest + 1, 2)"""
    fourth: Integers
    """(longest + 1, 2)"""
    closing: Integers
    """(longest,) places of those of ``fourth`` among the third target's candidates, or -1."""
    edges: Integers
    """(6,) places of a correspondence's candidates: 12, 13, 14, 23, 24, 34; of three cameras 12, 13, 23."""
    tried: Integers
    """(1,) amount of work, in the unit of :data:`MOST_TRIED`."""


@inner
def _workspace(candidates: Candidates) -> Workspace:
    longest = candidates.first.shape[2]
    third, fourth = np.empty((longest + 1, 2), np.int64), np.empty((longest + 1, 2), np.int64)
    return Workspace(third, fourth, np.empty(longest, np.int64), np.empty(6, np.int64), np.zeros(1, np.int64))


@inner
def find_quadruplets(base: Integers, candidates: Candidates, corrmin: float) -> Found:
    """All quadruplets of targets that are candidates of each other: (n, 4) targets, counted in their camera; qualities (n,).

    Raises :class:`TooManyError` where there are more than :data:`MOST`, or more than :data:`MOST_TRIED` to look at.
    """
    workspace = _workspace(candidates)
    members, quality = np.empty((base[1], 4), np.int64), np.empty(base[1])
    n = number(0)
    for target in range(base[1]):
        end = _quadruplets_of(target, candidates, corrmin, workspace, members, quality, n)
        if end > MOST:
            raise TooManyError
        while end > len(quality):
            members, quality = _longer(members), grown(quality)
            end = _quadruplets_of(target, candidates, corrmin, workspace, members, quality, n)
        if workspace.tried[0] > MOST_TRIED:
            raise TooMuchWorkError
        n = end
    return members[:n], quality[:n]


@leaf
def _quadruplets_of(
    target: int, candidates: Candidates, corrmin: float, workspace: Workspace, members: Integers, quality: Floats, n: int
) -> int:
    """Append a target's quadruplets to the ``n`` that there are; returns how many there are, even if there is no room for all.

    Beyond MOST, and beyond MOST_TRIED, it gives up.
    """
    partner, edges = candidates.partner, workspace.edges
    a, b, c, d = number(0), number(1), number(2), number(3)
    for edges[0] in range(candidates.first[0, 1, target], candidates.last[0, 1, target]):
        if n > MOST or workspace.tried[0] > MOST_TRIED:
            return n
        second = partner[edges[0]]
        n_3 = _common(candidates, a, target, b, second, c, workspace.third, workspace.tried)
        n_4 = _common(candidates, a, target, b, second, d, workspace.fourth, workspace.tried) if n_3 else 0
        workspace.tried[0] += COMBINATION * n_3 * n_4
        for k in range(n_3 if n_4 else 0):
            edges[1], edges[3] = workspace.third[k, 0], workspace.third[k, 1]
            third = partner[edges[1]]
            _close(candidates, third, n_4, workspace)
            for m in range(n_4):
                edges[2], edges[4], edges[5] = workspace.fourth[m, 0], workspace.fourth[m, 1], workspace.closing[m]
                if edges[5] >= 0:
                    q = _quality(candidates, edges, number(6))
                    if n < len(quality):
                        members[n, 0], members[n, 1], members[n, 2], members[n, 3] = target, second, third, partner[edges[2]]
                        quality[n] = q
                    n += not q <= corrmin  # a NaN is accepted, as in optv
    return n


@inner
def find_triplets(base: Integers, candidates: Candidates, used: Flags, corrmin: float) -> Found:
    """All triplets of unused targets: (n, n_cams) targets, -1 for the camera without one, and qualities (n,).

    Raises :class:`TooManyError` where there are more than :data:`MOST`, or more than :data:`MOST_TRIED` to look at.
    """
    workspace = _workspace(candidates)
    n_cams = len(base) - 1
    members, quality = np.empty((len(used), n_cams), np.int64), np.empty(len(used))
    n = number(0)
    for a in range(n_cams):
        for target in range(base[a + 1] - base[a]):
            if used[base[a] + target]:
                continue
            end = _triplets_of(a, target, base, candidates, used, corrmin, workspace, members, quality, n)
            if end > MOST:
                raise TooManyError
            while end > len(quality):
                members, quality = _longer(members), grown(quality)
                end = _triplets_of(a, target, base, candidates, used, corrmin, workspace, members, quality, n)
            if workspace.tried[0] > MOST_TRIED:
                raise TooMuchWorkError
            n = end
    return members[:n], quality[:n]


@leaf
def _triplets_of(
    a: int,
    target: int,
    base: Integers,
    candidates: Candidates,
    used: Flags,
    corrmin: float,
    workspace: Workspace,
    members: Integers,
    quality: Floats,
    n: int,
) -> int:
    """Append a target's triplets to the ``n`` that there are; returns how many there are, even if there is no room for all.

    Beyond MOST, and beyond MOST_TRIED, it gives up.
    """
    partner, edges, n_cams = candidates.partner, workspace.edges, len(base) - 1
    for b in range(a + 1, n_cams):
        for edges[0] in range(candidates.first[a, b, target], candidates.last[a, b, target]):
            if n > MOST or workspace.tried[0] > MOST_TRIED:
                return n
            second = partner[edges[0]]
            if used[base[b] + second]:
                continue
            for c in range(b + 1, n_cams):
                n_3 = _common(candidates, a, target, b, second, c, workspace.third, workspace.tried)
                workspace.tried[0] += COMBINATION * n_3
                for k in range(n_3):
                    edges[1], edges[2] = workspace.third[k, 0], workspace.third[k, 1]
                    third = partner[edges[1]]
                    q = _quality(candidates, edges, number(3))
                    if n < len(quality):
                        for camera in range(n_cams):
                            members[n, camera] = -1
                        members[n, a], members[n, b], members[n, c] = target, second, third
                        quality[n] = q
                    n += (not q <= corrmin) & (not used[base[c] + third])
    return n


@inner
def find_pairs(base: Integers, candidates: Candidates, used: Flags, corrmin: float) -> Found:
    """All pairs of unused targets of which the first has a single candidate: as :func:`find_triplets`."""
    most = len(used) * (len(base) - 2) + 1
    members, quality = np.full((most, len(base) - 1), -1), np.empty(most)
    n = _pairs(base, candidates, used, corrmin, members, quality)
    return members[:n], quality[:n]


@leaf
def _pairs(base: Integers, candidates: Candidates, used: Flags, corrmin: float, members: Integers, quality: Floats) -> int:
    n_cams, n = len(base) - 1, 0
    for a in range(n_cams):
        for b in range(a + 1, n_cams):
            for target in range(base[a + 1] - base[a]):
                edge = candidates.first[a, b, target]
                if used[base[a] + target] or candidates.last[a, b, target] - edge != 1:
                    continue
                second = candidates.partner[edge]
                q = candidates.grade[edge] / candidates.distance[edge]
                if not q <= corrmin and not used[base[b] + second]:
                    members[n, a], members[n, b], quality[n] = target, second, q
                    n += 1
    return n


@leaf
def _common(candidates: Candidates, a: int, one: int, b: int, other: int, camera: int, edges: Integers, tried: Integers) -> int:
    """Common candidates of two targets in a third camera: their places in both lists go to ``edges``; returns how many.

    The lengths of the lists are added to ``tried``.
    """
    i, i_end = candidates.first[a, camera, one], candidates.last[a, camera, one]
    j, j_end = candidates.first[b, camera, other], candidates.last[b, camera, other]
    n = 0
    tried[0] += i_end - i + j_end - j
    while i < i_end and j < j_end:  # without branches inside: the order of the lists is unpredictable
        difference = candidates.partner[i] - candidates.partner[j]
        edges[n, 0], edges[n, 1] = i, j
        n += difference == 0
        i += difference <= 0
        j += difference >= 0
    return n


@leaf
def _quality(candidates: Candidates, edges: Integers, n: int) -> float:
    """Sum of the grades divided by sum of the distances."""
    grade = distance = 0.0
    for k in range(n):
        grade += candidates.grade[edges[k]]
        distance += candidates.distance[edges[k]]
    return grade / distance


@leaf
def _close(candidates: Candidates, third: int, n_4: int, workspace: Workspace) -> None:
    """Write the places of the first ``n_4`` of ``workspace.fourth`` among the third target's candidates to ``closing``."""
    edge, end = candidates.first[2, 3, third], candidates.last[2, 3, third]
    for m in range(n_4):
        fourth = candidates.partner[workspace.fourth[m, 0]]
        while edge < end and candidates.partner[edge] < fourth:
            edge += 1
        workspace.closing[m] = edge if edge < end and candidates.partner[edge] == fourth else -1


@inner
def _longer(members: Integers) -> Integers:
    """A copy (2 n + 1, n_cams) of an array (n, n_cams) with room at its end."""
    longer = np.empty((2 * len(members) + 1, members.shape[1]), np.int64)
    for index in range(len(members)):
        for camera in range(members.shape[1]):
            longer[index, camera] = members[index, camera]
    return longer


@leaf
def _take(order: Integers, base: Integers, members: Integers, used: Flags, rows: Integers, total: int) -> int:
    for index in order:
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


@inner
def take_best(base: Integers, members: Integers, quality: Floats, used: Flags, rows: Integers, total: int) -> int:
    """Select correspondences by quality if none of their targets is used, and append them to ``rows``.

    Returns:
        The new number of correspondences, which was ``total`` before.
    """
    return _take(descending(quality), base, members, used, rows, total)
