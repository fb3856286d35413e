"""Makes bad messages out of good ones: the same number always gives the same message."""

from __future__ import annotations

import random
from collections.abc import Sequence

MAX_SIZE = 16 * 1024
ODD_BYTES = (0, 9, 10, 13, 32, 34, 38, 39, 60, 62, 91, 93, 127, 128, 0xC0, 0xED, 0xFE, 0xFF)
NUMBERS = (b"0", b"-1", b"1", b"65536", b"4294967296", b"9" * 30, b"1e999", b"nan", b"0x10", b"")


class Mutator:
    """Changes messages. corpus: good ones; words: what the format gives a meaning to."""

    def __init__(self, corpus: Sequence[bytes], words: Sequence[bytes], seed: int) -> None:
        self._corpus = corpus
        self._words = words
        self._seed = seed

    def message(self, number: int) -> bytes:
        """The message of that number; one in 64 is a good one."""
        rng = random.Random((self._seed << 40) + number)
        data = bytearray(rng.choice(self._corpus))
        if number % 64:
            for _ in range(1 + int(rng.expovariate(0.6))):
                data = self._changed(data, rng)
        return bytes(data[:MAX_SIZE])

    def _changed(self, data: bytearray, rng: random.Random) -> bytearray:
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + int(rng.expovariate(1 / 12)) + 1)
        match rng.randrange(10):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.choice(ODD_BYTES)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * rng.choice((1, 2, 3, 70))
            case 4 | 5:
                data[at:at] = rng.choice(self._words)
            case 6:
                data[at:end] = rng.choice(self._words)
            case 7:
                other = rng.choice(self._corpus)
                start = rng.randrange(len(other) + 1)
                data[at:] = other[start:]
            case 8:
                del data[at:]
            case _:
                digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
                if digits:
                    place = rng.choice(digits)
                    data[place : place + 1] = rng.choice(NUMBERS)
        return data
