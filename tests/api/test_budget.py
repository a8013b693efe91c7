"""A share of the hourly limit is kept for listings."""

from __future__ import annotations

import pytest

from supermetrics_connectors.api.budget import Budget, BudgetReachedError


def test_requests_end_where_the_kept_share_begins() -> None:
    """Those in flight count: their answers will have used up one each."""
    budget = Budget(0.2, workers=2)
    budget.note(100, 22)
    with budget.one(), budget.one(), pytest.raises(BudgetReachedError), budget.one():
        pass
    budget.note(100, 20)
    assert budget.reason == "20 of 100 requests are left of this hour and 20 are kept for listings"


def test_what_the_api_does_not_say_holds_nothing_back() -> None:
    """Then a 429 will end it."""
    budget = Budget(1.0, workers=2)
    with budget.one():
        budget.note(None, None)
    assert budget.reason == ""


def test_an_answer_that_comes_late_gives_nothing_back_and_a_new_hour_does() -> None:
    """Answers of several workers come in another order than they were counted in."""
    budget = Budget(0.5, workers=2)
    budget.note(100, 40)
    budget.note(100, 42)
    assert budget.remaining == 40
    budget.note(100, 99)
    assert (budget.remaining, budget.reason) == (99, "")


def test_it_can_be_ended_for_another_reason() -> None:
    """And the first one is told."""
    budget = Budget(0.5, workers=2)
    budget.end("the API is gone")
    budget.end("later")
    with pytest.raises(BudgetReachedError, match="the API is gone"), budget.one():
        pass
