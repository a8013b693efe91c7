"""A share of the hourly limit is reserved for listings."""

from __future__ import annotations

import pytest

from supermetrics_connectors.api.budget import RequestBudget, RequestBudgetExhaustedError


def test_requests_end_where_the_reserved_share_begins() -> None:
    """Requests in flight count: each will have used one up."""
    budget = RequestBudget(0.2, workers=2)
    budget.update(100, 22)
    budget.reserve()
    budget.reserve()
    with pytest.raises(RequestBudgetExhaustedError):
        budget.reserve()
    assert (budget.available, budget.reserved) == (0, 20)
    budget.update(100, 21)
    budget.update(100, 20)
    assert budget.reason == "20 of 100 requests are left in this hour and 20 are reserved for listings"


def test_without_a_known_limit_no_requests_are_reserved() -> None:
    """A 429 then ends the requests."""
    budget = RequestBudget(1.0, workers=2)
    budget.reserve()
    budget.update(None, None)
    assert (budget.reason, budget.available) == ("", None)


def test_only_a_new_hour_raises_the_remaining_requests() -> None:
    """Responses of several workers arrive in another order than they were counted in."""
    budget = RequestBudget(0.5, workers=2)
    budget.update(100, 40)
    budget.update(100, 42)
    assert budget.remaining == 40
    budget.update(100, 99)
    assert (budget.remaining, budget.reason) == (99, "")


def test_requests_can_be_stopped_for_another_reason() -> None:
    """The first reason stays."""
    budget = RequestBudget(0.5, workers=2)
    budget.stop("the API is down")
    budget.stop("later")
    with pytest.raises(RequestBudgetExhaustedError, match="the API is down"):
        budget.reserve()
