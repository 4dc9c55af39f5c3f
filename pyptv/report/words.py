"""Numbers in readable form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

NOT_RECORDED = "not recorded"

_MINUTE, _HOUR = 60.0, 3600.0


def number(value: float) -> str:
    """Three significant digits, thousands separated by a thin space; a dash for NaN.

    >>> number(0.98765), number(1234567.0), number(12.0)
    ('0.988', '1\u202f234\u202f567', '12')
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 100 or float(value).is_integer():  # three digits
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    digits = 3 if size < 0.0005 else max(0, 2 - math.floor(math.log10(size)))
    text = f"{value:.2e}" if size < 0.0005 else f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text).replace("-", "−")


def percent(share: float) -> str:
    """A share as a percentage: ``"8 %"``, ``"0.4 %"``, with a non-breaking space; a dash for NaN."""
    if not math.isfinite(share):
        return "–"
    value = 100 * share
    return f"{value:.0f}\u00a0%" if value >= 10 or value == 0 else f"{value:.2g}\u00a0%"


def duration(seconds: float) -> str:
    """A time span: ``"4.1 s"``, ``"3 min 20 s"``, ``"2 h 05 min"``."""
    if seconds < _MINUTE:
        return f"{number(seconds)} s"
    if seconds < _HOUR:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {rest:02d} min"


def moment(stamp: str) -> str:
    """A time stamp in readable form; unchanged if it is not one.

    >>> moment("2026-11-22T14:29:45.741Z")
    '2026-11-22 14:29:45 UTC'
    """
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    zone = "" if when.tzinfo is None else " UTC" if not when.utcoffset() else f" {when:%z}"
    return f"{when:%Y-%m-%d %H:%M:%S}{zone}"


def count(n: int, thing: str, things: str | None = None) -> str:
    """A number with a noun: ``"1 frame"``, ``"12 frames"``."""
    return f"{number(n)} {thing if n == 1 else things or thing + 's'}"


def listing(parts: Iterable[str]) -> str:
    """A list in words: ``"a, b and c"``."""
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def spread(values: Sequence[float]) -> str:
    """A caption's summary of many values: mean, minimum and maximum, without NaN."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "nothing"
    return f"mean {number(sum(known) / len(known))}, from {number(min(known))} to {number(max(known))}"
