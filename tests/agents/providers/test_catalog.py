"""The model catalogue: what is known about an id, what it costs, and what a bad override file says."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from agents.errors import ProviderRejected
from agents.providers import catalog
from agents.providers.base import Usage
from agents.providers.catalog_file import CatalogInvalid

ROOT = Path(__file__).resolve().parents[3]
MILLION = 1_000_000


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "DAYBREAK_MODELS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def override(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "models.yaml"
        path.write_text(text)
        monkeypatch.setenv("DAYBREAK_MODELS", str(path))
        return path

    return write


def test_a_dated_snapshot_is_its_model_and_a_new_version_is_not():
    known = catalog.lookup("claude-opus-5")
    snapshot = catalog.lookup("claude-opus-5-20260724")
    assert (snapshot.prices, snapshot.context_window) == (known.prices, 1_000_000)
    assert catalog.lookup("claude-opus-5-5").prices != known.prices
    for unknown in ("claude-opus-5-7", "claude-opus-5x", "claude-nova-9"):
        assert catalog.lookup(unknown).prices is None
        assert not catalog.lookup(unknown).budgetable


def test_every_model_the_sdk_names_is_known():
    from anthropic.types.model import Model

    literals, _ = get_args(Model)
    for model in get_args(literals):
        info = catalog.lookup(model)
        assert info.display_name.startswith("Claude "), model
        assert info.max_tokens == 16_000
        assert info.max_output_tokens >= info.max_tokens
        assert info.default_effort is None or info.default_effort in info.efforts


def test_cost_adds_up_every_kind_of_token():
    usage = Usage(MILLION, MILLION, MILLION, MILLION, MILLION)
    # 5 + 25 + 0.50 + 6.25 + 10 dollars
    assert catalog.cost_nanousd("claude-opus-5", usage) == 46_750_000_000
    assert catalog.cost_nanousd("claude-opus-5", Usage(output_tokens=1)) == 25_000
    assert catalog.cost_nanousd("claude-opus-5", Usage()) == 0


def test_a_part_of_a_nano_dollar_is_rounded_up(override):
    override(
        "models: {tiny: {prices: {input: 0.0001, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0}}}"
    )
    assert catalog.cost_nanousd("tiny", Usage(input_tokens=1)) == 1


def test_long_prompts_may_cost_more():
    short, long = Usage(input_tokens=100_000), Usage(input_tokens=100_001)
    assert catalog.cost_nanousd("claude-haiku-5-5", short) == 10_000_000
    assert catalog.cost_nanousd("claude-haiku-5-5", long) == 50_000_500


def test_simulated_models_cost_nothing_and_unknown_ones_have_no_price():
    usage = Usage(MILLION, MILLION)
    assert catalog.cost_nanousd("simulated/echo", usage) == 0
    assert catalog.lookup("simulated/echo").budgetable
    assert catalog.lookup("simulated/tools-small-window").context_window == 8_000
    assert catalog.cost_nanousd("qwen3", usage) is None


def test_vendor_models_are_listed_only_with_a_key(monkeypatch):
    listed = [info.id for info in catalog.list_models()]
    assert listed[0] == "simulated/default"
    assert all(name.startswith("simulated/") for name in listed)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    listed = [info.id for info in catalog.list_models()]
    assert "claude-opus-5-5" in listed
    assert "simulated/build-log-triage" in listed
    assert not [name for name in listed if name.endswith("*")]


def test_who_answers(monkeypatch):
    assert catalog.provider_for("simulated/echo").simulated
    with pytest.raises(ProviderRejected) as caught:
        catalog.provider_for("claude-opus-5")
    assert caught.value.message == ("no provider for claude-opus-5: set ANTHROPIC_API_KEY or use simulated/default")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    provider = catalog.provider_for("claude-opus-5")
    assert provider.name == "anthropic"
    assert catalog.provider_for("qwen3") is provider, "connections are shared"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    assert catalog.provider_for("claude-opus-5") is not provider


def test_an_override_adds_models_and_changes_single_fields(override, monkeypatch):
    path = override(
        "session_hour_usd: 0.08\nmodels:\n  claude-opus-5: {context_window: 50000}\n"
        "  local-llama: {display_name: Local, context_window: 8192}\n"
        "  simulated/echo: {context_window: 4000}\n  claude-haiku-4-5: {prices: null}\n"
    )
    assert catalog.lookup("claude-opus-5").context_window == 50_000
    assert catalog.lookup("claude-opus-5").prices is not None
    assert catalog.lookup("claude-haiku-4-5").prices is None
    assert catalog.lookup("simulated/echo").context_window == 4_000
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert "local-llama" in [info.id for info in catalog.list_models()]
    prices = catalog.service_prices()
    assert (prices.session_hour_usd, prices.web_search_per_1000_usd) == (Decimal("0.08"), Decimal(10))
    path.write_text("models: {claude-opus-5: {context_window: 60000}}\n# edited\n")
    assert catalog.lookup("claude-opus-5").context_window == 60_000


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("models: [", "not valid YAML"),
        ("- a", "the top level"),
        ("modles: {}", "modles"),
        ("models: {m: 3}", "models.m"),
        ("models: {m: {window: 3}}", "window"),
        ("models: {m: {context_window: -1}}", "models.m.context_window"),
        ("models: {m: {context_window: true}}", "models.m.context_window"),
        ("models: {m: {prices: {input: 1}}}", "models.m.prices"),
        (
            "models: {m: {prices: {input: x, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0}}}",
            "models.m.prices.input",
        ),
        ("models: {m: {efforts: high}}", "models.m.efforts"),
        ("models: {m: {thinking: deep}}", "models.m.thinking"),
        ("session_hour_usd: -1", "session_hour_usd"),
    ],
)
def test_a_bad_override_is_one_sentence_that_names_file_and_key(override, text, where):
    path = override(text)
    with pytest.raises(CatalogInvalid) as caught:
        catalog.lookup("claude-opus-5")
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_override_is_named(monkeypatch):
    monkeypatch.setenv("DAYBREAK_MODELS", "/nowhere/models.yaml")
    with pytest.raises(CatalogInvalid, match="/nowhere/models.yaml"):
        catalog.list_models()


def test_the_sdk_is_not_imported_before_a_request():
    code = (
        "import sys, os; os.environ['ANTHROPIC_API_KEY'] = 'k'\n"
        "from agents.providers import catalog\n"
        "catalog.list_models(); catalog.provider_for('claude-opus-5'); catalog.provider_for('simulated/echo')\n"
        "sys.exit('anthropic' in sys.modules or 'django' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
