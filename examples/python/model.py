"""A stand-in for a language model: it streams its reply token by token, as a
real one does, and tells what it used."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Usage:
    input_tokens: int
    output_tokens: int


# Called with the prompt and the most tokens that the reply may have.
Model = Callable[[str, int], Generator[str, None, Usage]]


def count_tokens(text: str) -> int:
    return len(text.split())


def parrot(prompt: str, max_tokens: int) -> Generator[str, None, Usage]:
    tokens = re.findall(r"\S+\s*", f"You said: {prompt}")[:max_tokens]
    for token in tokens:
        time.sleep(0.005)
        yield token
    return Usage(count_tokens(prompt), len(tokens))


def price(usage: Usage) -> Decimal:
    """What tokens cost, in credits."""
    return (usage.input_tokens * Decimal(2) + usage.output_tokens * Decimal(8)) / 100
