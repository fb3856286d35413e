"""Figures in the text format that Prometheus reads: counters, histograms, and what is asked for."""

from __future__ import annotations

import asyncio
import bisect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)
MAX_SERIES: Final = 5_000
OTHER: Final = "other"
_LINES_AT_ONCE: Final = 1_000

Labels = tuple[str, ...]
Values = Callable[[], Mapping[Labels, float]]


class _Metric:
    """A name, a sentence, and the names of the labels."""

    def __init__(self, kind: str, name: str, about: str, labels: Sequence[str]) -> None:
        self._kind = kind
        self.name = name
        self._about = about
        self._labels = tuple(labels)

    def _head(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._about}"
        yield f"# TYPE {self.name} {self._kind}"

    def _sample(self, labels: Labels, value: float, suffix: str = "", last: str = "") -> str:
        pairs = [
            f'{name}="{_escaped(text)}"' for name, text in zip(self._labels, labels, strict=True)
        ]
        if last:
            pairs.append(last)
        shown = f"{{{','.join(pairs)}}}" if pairs else ""
        return f"{self.name}{suffix}{shown} {_number(value)}"

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class Counter(_Metric):
    """Only grows. Label values beyond MAX_SERIES are counted together, as `other`."""

    def __init__(self, name: str, about: str, labels: Sequence[str] = ()) -> None:
        super().__init__("counter", name, about, labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, *labels: str, by: float = 1.0) -> None:
        key = _bounded(labels, self._values)
        self._values[key] = self._values.get(key, 0.0) + by

    def value(self, *labels: str) -> float:
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        yield from self._head()
        for labels, value in self._values.items():
            yield self._sample(labels, value)


class Histogram(_Metric):
    """How often something took how long, in seconds."""

    def __init__(
        self, name: str, about: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS
    ) -> None:
        super().__init__("histogram", name, about, labels)
        self._bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not labels:
            self._series(())

    def _series(self, labels: Labels) -> list[int]:
        self._sums[labels] = 0.0
        counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        return counts

    def observe(self, seconds: float, *labels: str) -> None:
        key = _bounded(labels, self._sums)
        counts = self._counts.get(key) or self._series(key)
        counts[bisect.bisect_left(self._bounds, seconds)] += 1
        self._sums[key] += seconds

    def count(self, *labels: str) -> int:
        return sum(self._counts.get(labels, ()))

    def lines(self) -> Iterator[str]:
        yield from self._head()
        for labels, counts in self._counts.items():
            total = 0
            for bound, count in zip((*self._bounds, math.inf), counts, strict=True):
                total += count
                yield self._sample(labels, total, "_bucket", f'le="{_number(bound)}"')
            yield self._sample(labels, self._sums[labels], "_sum")
            yield self._sample(labels, total, "_count")


class Reading(_Metric):
    """Figures kept elsewhere, which are asked for when somebody wants to see them."""

    def __init__(
        self,
        kind: Literal["counter", "gauge"],
        name: str,
        about: str,
        values: Values,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__(kind, name, about, labels)
        self._values = values

    def lines(self) -> Iterator[str]:
        yield from self._head()
        for labels, value in islice(self._values().items(), MAX_SERIES):
            yield self._sample(labels, value)


class Registry:
    """All figures of the process."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Metric] = {}

    def add(self, *metrics: Counter | Histogram | Reading) -> None:
        """Show figures from now on. Raises ValueError for a name that is taken."""
        for metric in metrics:
            if metric.name in self._metrics:
                raise ValueError(f"there is a figure {metric.name} already")
            self._metrics[metric.name] = metric

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a figure that goes up and down."""
        self.add(Reading("gauge", name, about, lambda: {(): value()}))

    def counter(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a figure that is counted elsewhere."""
        self.add(Reading("counter", name, about, lambda: {(): value()}))

    async def text(self) -> str:
        """The page; others are let in between its parts."""
        lines: list[str] = []
        for metric in self._metrics.values():
            for line in metric.lines():
                lines.append(line)
                if len(lines) % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        return "\n".join([*lines, ""])


def _bounded(labels: Labels, known: Mapping[Labels, object]) -> Labels:
    if labels in known or len(known) < MAX_SERIES:
        return labels
    return (OTHER,) * len(labels)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
