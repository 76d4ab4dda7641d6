"""Advantages: known answers, time limits and their wrong variants, and the definition."""

import pytest
import torch
from torch import Tensor

from adbench.source.advantage import gae

DISCOUNT = 0.9
ENDLESS = 1 / (1 - DISCOUNT)
"""What a reward of one at every step is worth, for ever: the geometric series."""

# Ten additions and products of float32 numbers of about 10.
CLOSE = 1e-5


def flags(steps: int, *ends: int) -> Tensor:
    """Bool [T, 1], true at the given steps."""
    result = torch.zeros(steps, 1, dtype=torch.bool)
    result[list(ends)] = True
    return result


@pytest.mark.parametrize("trace", [0.0, 0.5, 0.95, 1.0])
def test_the_value_of_endless_reward_is_the_geometric_series(trace: float) -> None:
    ones, value = torch.ones(7, 1), torch.full((7, 1), ENDLESS)
    never = flags(7)
    result = gae(ones, value, value, never, never, discount=DISCOUNT, trace=trace)
    assert result.abs().max() < CLOSE


@pytest.mark.parametrize("trace", [0.0, 0.95])
def test_a_time_limit_does_not_change_what_endless_reward_is_worth(trace: float) -> None:
    ones, value = torch.ones(9, 1), torch.full((9, 1), ENDLESS)
    cut = flags(9, 2, 5, 8)
    result = gae(ones, value, value, flags(9), cut, discount=DISCOUNT, trace=trace)
    assert result.abs().max() < CLOSE
    # The wrong variant: taking the time limit for an end makes the last step's future vanish.
    wrong = gae(ones, value, value, cut, flags(9), discount=DISCOUNT, trace=trace)
    torch.testing.assert_close(wrong[cut], torch.full((3,), -DISCOUNT * ENDLESS))


def test_a_time_limit_looks_at_its_own_last_state_and_not_at_the_next_start() -> None:
    rewards, values = torch.zeros(2, 1), torch.zeros(2, 1)
    reached = torch.tensor([[5.0], [0.0]])  # the next episode starts in a state worth nothing
    result = gae(rewards, values, reached, flags(2), flags(2, 0), discount=DISCOUNT, trace=1.0)
    torch.testing.assert_close(result, torch.tensor([[DISCOUNT * 5.0], [0.0]]))


def test_two_states_and_an_end_have_their_known_advantages() -> None:
    # First state: reward 1, on to the second: reward 2, and over. Values are half of the truth.
    rewards, values = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.4], [1.0]])
    over = flags(2, 1)
    following = torch.tensor([[1.0], [123.0]])  # nothing follows an end, whatever is said of it
    result = gae(rewards, values, following, over, flags(2), discount=DISCOUNT, trace=0.5)
    last = 2.0 - 1.0
    first = (1.0 + DISCOUNT * 1.0 - 1.4) + DISCOUNT * 0.5 * last
    torch.testing.assert_close(result, torch.tensor([[first], [last]]))


def test_nothing_flows_from_one_episode_into_another() -> None:
    rewards = torch.zeros(6, 2)
    rewards[4] = 100.0
    nothing = torch.zeros(6, 2)
    for terminated, truncated in ((flags(6, 2), flags(6)), (flags(6), flags(6, 2))):
        result = gae(rewards, nothing, nothing, terminated, truncated, discount=DISCOUNT, trace=1.0)
        assert (result[:3] == 0).all()
        assert (result[3] == DISCOUNT * 100.0).all()


@pytest.mark.parametrize("trace", [0.0, 0.3, 1.0])
def test_the_recursion_is_the_sum_that_defines_it(trace: float) -> None:
    steps, lanes = 17, 5
    random = torch.Generator().manual_seed(0)
    rewards, values, following = torch.randn(3, steps, lanes, generator=random).double()
    ends = torch.rand(2, steps, lanes, generator=random) < 0.2
    terminated, truncated = ends[0], ends[1] & ~ends[0]
    result = gae(rewards, values, following, terminated, truncated, discount=DISCOUNT, trace=trace)
    errors = rewards + DISCOUNT * following * ~terminated - values
    for lane in range(lanes):
        for step in range(steps):
            expected = 0.0
            for later in range(step, steps):
                expected += (DISCOUNT * trace) ** (later - step) * float(errors[later, lane])
                if terminated[later, lane] or truncated[later, lane]:
                    break
            # Float64: 17 additions of numbers of about 1.
            assert abs(float(result[step, lane]) - expected) < 1e-12
