"""What judging costs: a table of prices, estimates before asking and the bill afterwards."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from curate.corpus import UserError
from curate.judge.endpoint import Endpoint

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]

TYPICAL_REPLY = 300
"""Tokens of a reply that fits the schema, for estimates."""


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Dollars
    output: Dollars
    image_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """How many tokens the model counts for an image, relative to one for each 28 x 28 pixels."""

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """US dollars for so many tokens."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


FREE = Price(input=0, output=0)
_TABLE = TypeAdapter(dict[str, Price])


def load_prices(path: Path | None = None) -> dict[str, Price]:
    """The built-in prices by model name, with those of the file ``path`` put over them; UserError when it is wrong."""
    prices = _read(Path(__file__).with_name("prices.yaml"))
    return prices if path is None else prices | _read(path)


def parse_price(text: str) -> Price:
    """``IN,OUT`` in US dollars per million tokens; UserError when it is not that."""
    try:
        price_in, price_out = (float(part) for part in text.split(","))
        return Price(input=price_in, output=price_out)
    except ValueError:
        raise UserError(
            f"--price {text!r}: give US dollars per million input and output tokens, as in 0.40,1.60"
        ) from None


def price_of(endpoint: Endpoint, prices: dict[str, Price]) -> Price | None:
    """The price of an endpoint's model: by its name, with or without provider prefix and date; free on this machine.

    None when it is not known.
    """
    name = endpoint.model
    for candidate in (
        name,
        name.rpartition("/")[2],
        re.sub(r"-(\d{8}|\d{4}-\d{2}-\d{2})$", "", name.rpartition("/")[2]),
    ):
        if candidate in prices:
            return prices[candidate]
    return FREE if endpoint.local else None


def no_price(model: str) -> UserError:
    """What to tell a user who set a budget for a model without a known price."""
    return UserError(
        f"--budget needs the price of {model}, which is not in curate's table: add --price IN,OUT with US dollars per "
        f"million input and output tokens from your provider's page"
    )


def text_tokens(texts: Iterable[str]) -> int:
    """Tokens of texts, estimated high: one for three bytes of UTF-8 (English has some four, Chinese three)."""
    return sum(math.ceil(len(text.encode()) / 3) for text in texts)


def image_tokens(width: int, height: int, factor: float = 1.0) -> int:
    """Tokens of an image, estimated as one for each 28 x 28 pixels; ``factor`` as in :class:`Price`."""
    return math.ceil(math.ceil(width / 28) * math.ceil(height / 28) * factor)


def _read(path: Path) -> dict[str, Price]:
    try:
        return _TABLE.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"price table {path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"price table {path} is not valid YAML") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"price table {path}: {where}: {first['msg']}; a line is  model: {{input: 1.00, output: 2.00}}"
        ) from None
