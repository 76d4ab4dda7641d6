"""A configuration that cannot be meant is refused in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from adbench.config import RunConfig
from adbench.errors import ConfigError


def _refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        RunConfig.parse({"env": "bandit", **values})
    return str(refused.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seeds": [0, 0]}, "seeds repeat: 0, 0."),
        ({"methods": ["ad", "ed", "ad"]}, "methods repeat: ad, ed, ad."),
        (
            {"train": {"window_steps": 63, "sequence_steps": 5}},
            "train: sequence_steps is 5, less than 2 * window_steps = 126: eviction from the "
            "window would never be trained.",
        ),
    ],
)
def test_fields_that_do_not_agree_are_told_without_the_rest_of_the_configuration(
    values: dict[str, Any], told: str
) -> None:
    assert _refusal(**values) == told


def test_an_item_that_is_refused_is_told_once_and_not_as_a_list_that_is_empty() -> None:
    assert _refusal(seeds=[-1]) == ("seeds.0: Input should be greater than or equal to 0, got -1.")


@pytest.mark.parametrize("value", [float("nan"), [1], {"a": 1}])
def test_a_setting_of_a_source_is_refused_in_one_line(value: object) -> None:
    assert _refusal(source={"settings": {"discount": value}}) == (
        "source.settings.discount: Input should be a finite number, a text, true or false, got "
        f"{value!r}."
    )


def test_a_size_that_no_array_can_have_is_refused() -> None:
    assert "less than or equal to" in _refusal(collect={"max_episodes": 10**26})
    assert "less than or equal to" in _refusal(train={"window_steps": 10**12})


@pytest.mark.parametrize(
    "told",
    [
        {"train": {"updates": True}},
        {"train": {"learning_rate": False}},
        {"tasks": {"test": True}},
        {"seeds": [0, True]},
    ],
    ids=str,
)
def test_true_is_no_number(told: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"should be a number, not true or false"):
        RunConfig.parse({"env": "dark-room", **told})


def test_true_stays_true_where_a_field_may_be_either() -> None:
    config = RunConfig.parse({"env": "dark-room", "source": {"settings": {"bold": True}}})
    assert config.source.settings["bold"] is True
