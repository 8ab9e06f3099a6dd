"""Which models there are, what they can do, what they cost, and who answers for them.

The facts are in `catalog.yaml`; `DAYBREAK_MODELS` names a file of the same shape that is merged over it, field by
field. Environment variables are read when a function is called, so a change needs no restart.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from pathlib import Path

from agents.errors import ProviderRejected
from agents.providers.base import Provider, Usage
from agents.providers.catalog_file import Catalog, ModelFields, Prices, PricesAbove, read_catalog
from agents.simulator.scenarios import Scenario, all_scenarios

BUILT_IN = Path(__file__).with_name("catalog.yaml")
SIMULATED_PREFIX = "simulated/"
DEFAULT_MAX_TOKENS = 16_000  # asked for per answer unless the catalogue says otherwise
DEFAULT_CONTEXT_WINDOW = 128_000
NANOUSD_PER_TOKEN = 1_000  # one dollar for a million tokens is 1,000 nano-dollars for one token

NO_PRICE = Prices(*[Decimal(0)] * 5)


@dataclass(frozen=True)
class ModelInfo:
    """What is known about one model id.

    `max_tokens` is what a request asks for; `max_output_tokens` is the most the model could write. `prices` is None
    when no list price is known: such a model works but cannot be given a budget.
    """

    id: str
    provider: str
    display_name: str
    context_window: int
    max_tokens: int
    max_output_tokens: int
    simulated: bool = False
    prices: Prices | None = None
    prices_above: PricesAbove | None = None
    released: date | None = None
    adaptive_thinking: bool = False
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    prompt_caching: bool = True
    description: str = ""

    @property
    def budgetable(self) -> bool:
        return self.prices is not None

    @property
    def is_free(self) -> bool:
        """Whether no request can cost anything."""
        return self.prices == NO_PRICE and self.prices_above is None

    def prices_for(self, context_tokens: int) -> Prices | None:
        """The prices of one request that reads `context_tokens`."""
        if self.prices_above is not None and context_tokens > self.prices_above.input_tokens:
            return self.prices_above.prices
        return self.prices


@dataclass(frozen=True)
class ServicePrices:
    """What a session costs beside tokens, in US dollars."""

    session_hour_usd: Decimal
    web_search_per_1000_usd: Decimal


def lookup(model_id: str) -> ModelInfo:
    """What is known about a model; for an unknown id cautious defaults and no price.

    Raises CatalogInvalid when the file named by DAYBREAK_MODELS cannot be used.
    """
    fields = _catalog().fields_of(model_id)
    if model_id.startswith(SIMULATED_PREFIX):
        return _simulated_info(model_id, fields)
    return _info(model_id, fields)


def list_models() -> list[ModelInfo]:
    """Every model a person may choose now: vendors' models only with a key, then the simulated ones."""
    vendor = _catalog().listed() if os.environ.get("ANTHROPIC_API_KEY") else []
    return [
        *[lookup(model_id) for model_id in vendor if not model_id.startswith(SIMULATED_PREFIX)],
        *[lookup(SIMULATED_PREFIX + scenario.id) for scenario in all_scenarios()],
    ]


def provider_for(model_id: str) -> Provider:
    """The provider that answers for `model_id`. Raises ProviderRejected when there is none."""
    if model_id.startswith(SIMULATED_PREFIX):
        from agents.providers.simulated import SimulatedProvider

        return SimulatedProvider()
    key = os.environ.get("ANTHROPIC_API_KEY")
    if not key:
        raise ProviderRejected(f"no provider for {model_id}: set ANTHROPIC_API_KEY or use simulated/default")
    return _anthropic(key, os.environ.get("ANTHROPIC_BASE_URL") or None)


def account_of(model_id: str) -> str | None:
    """Names the vendor's account that answers for the model, without giving its key away; None for simulated models.

    A vendor counts requests by key, and another server at another address counts its own.
    """
    if model_id.startswith(SIMULATED_PREFIX):
        return None
    return _account(os.environ.get("ANTHROPIC_API_KEY") or "", os.environ.get("ANTHROPIC_BASE_URL") or "")


def cost_nanousd(model_id: str, usage: Usage) -> int | None:
    """The list price of one answer in nano-dollars, rounded up; None when no list price is known.

    `usage` is that of a single request: a long input may have its own prices, so sums over several requests would
    come out wrong.
    """
    prices = lookup(model_id).prices_for(usage.context_tokens)
    if prices is None:
        return None
    usd_per_million = (
        usage.input_tokens * prices.input
        + usage.output_tokens * prices.output
        + usage.cache_read_input_tokens * prices.cache_read
        + usage.cache_creation_5m_input_tokens * prices.cache_write_5m
        + usage.cache_creation_1h_input_tokens * prices.cache_write_1h
    )
    return int((usd_per_million * NANOUSD_PER_TOKEN).to_integral_value(rounding=ROUND_CEILING))


def service_prices() -> ServicePrices:
    catalog = _catalog()
    return ServicePrices(catalog.session_hour_usd, catalog.web_search_per_1000_usd)


def _info(model_id: str, fields: ModelFields) -> ModelInfo:
    max_tokens = fields.get("max_tokens", DEFAULT_MAX_TOKENS)
    return ModelInfo(
        id=model_id,
        provider="anthropic",
        display_name=fields.get("display_name", model_id),
        context_window=fields.get("context_window", DEFAULT_CONTEXT_WINDOW),
        max_tokens=max_tokens,
        max_output_tokens=fields.get("max_output_tokens", max_tokens),
        prices=fields.get("prices"),
        prices_above=fields.get("prices_above"),
        released=fields.get("released"),
        adaptive_thinking=fields.get("thinking") == "adaptive",
        efforts=fields.get("efforts", ()),
        default_effort=fields.get("default_effort"),
        prompt_caching=fields.get("prompt_caching", True),
    )


def _simulated_info(model_id: str, fields: ModelFields) -> ModelInfo:
    """Simulated models cost nothing unless a file gives them prices, to try budgets; the rest is the scenario's."""
    scenario = _scenario(model_id)
    max_tokens = fields.get("max_tokens", DEFAULT_MAX_TOKENS)
    window = scenario.context_window if scenario else DEFAULT_CONTEXT_WINDOW
    return ModelInfo(
        id=model_id,
        provider="simulated",
        display_name=f"Simulated: {scenario.title}" if scenario else model_id,
        context_window=fields.get("context_window", window),
        max_tokens=max_tokens,
        max_output_tokens=fields.get("max_output_tokens", max_tokens),
        simulated=True,
        prices=fields.get("prices", NO_PRICE),
        prices_above=fields.get("prices_above"),
        description=scenario.description if scenario else "",
    )


def _scenario(model_id: str) -> Scenario | None:
    wanted = model_id.removeprefix(SIMULATED_PREFIX)
    return next((scenario for scenario in all_scenarios() if scenario.id == wanted), None)


@lru_cache(maxsize=8)
def _account(api_key: str, base_url: str) -> str:
    return "anthropic:" + hashlib.sha256(f"{api_key}\n{base_url}".encode()).hexdigest()


@lru_cache(maxsize=8)
def _anthropic(api_key: str, base_url: str | None) -> Provider:
    from agents.providers.anthropic import AnthropicProvider

    return AnthropicProvider(api_key=api_key, base_url=base_url)


def _catalog() -> Catalog:
    override = os.environ.get("DAYBREAK_MODELS")
    if not override:
        return _built_in()
    return _merged(override, _stamp(override))


@lru_cache(maxsize=1)
def _built_in() -> Catalog:
    return read_catalog(BUILT_IN)


@lru_cache(maxsize=4)
def _merged(override: str, stamp: tuple[int, int]) -> Catalog:
    """`stamp` only makes an edited file a different cache key."""
    return _built_in().merged_with(read_catalog(Path(override)))


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)  # reading it gives the error a person can act on
    return (status.st_mtime_ns, status.st_size)
