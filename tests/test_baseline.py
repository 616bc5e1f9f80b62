"""The baseline of attribution: what a lead is and does of its own, said by models that have not seen the lead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from by_hand import day, world
from numpy.typing import NDArray

from features.history import History
from features.settings import Settings
from training.baseline import baseline

SETTINGS = Settings.model_validate({"goal": {"horizon_days": 30}, "training": {"trees": 20, "members": 3}})
END = day(400)
LEADS = np.arange(200)
EAGER, FIRST_HALF = LEADS // 2 % 2 == 0, LEADS % 2 == 0
Of = Callable[[int], bool]


def company(won: Of, noted: Of = lambda _: False, rejected: Of = lambda _: False) -> History:
    """Return leads of which two after the other are eager and two are idle; all are closed on their 20th day."""
    created = {f"lead-{i:03}": i * 1.5 for i in LEADS}
    touches = [(lead, on + 0.5, "page_view", "Email") for lead, on in created.items()]
    touches += [(f"lead-{i:03}", i * 1.5 + 1, "demo_request", "Direct") for i in LEADS[EAGER]]
    stages = [(f"lead-{i:03}", i * 1.5 + 20, "won" if won(i) else "lost") for i in LEADS]
    attributes = {f"lead-{i:03}": {"note": "signed" if noted(i) else "none"} for i in LEADS}
    feedback = [(f"lead-{i:03}", i * 1.5 + 1, "rejected", "not now") for i in LEADS if rejected(i)]
    return world(created, touches, stages, attributes, feedback)


def said(history: History) -> NDArray[np.float64]:
    """Return the probability of every lead on its second day."""
    return baseline(history, SETTINGS, END)(LEADS, history.created + day(2) - day(0))


def mostly(i: int) -> bool:
    """Say that four of five eager leads are won, and one of five idle ones."""
    return bool((i // 4 % 5 != 0) == EAGER[i])


def test_who_does_more_of_its_own_is_more_probable() -> None:
    probability = said(company(mostly))
    assert probability[EAGER].mean() == pytest.approx(0.8, abs=0.1)
    assert probability[~EAGER].mean() == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("half", [FIRST_HALF, ~FIRST_HALF], ids=["first", "second"])
def test_no_lead_s_own_half_has_a_say_in_its_probability(half: NDArray[np.bool_]) -> None:
    as_it_is, turned = said(company(mostly)), said(company(lambda i: mostly(i) != half[i]))
    assert (as_it_is[half] == turned[half]).all()
    assert (as_it_is[~half] != turned[~half]).all()


def test_what_gives_the_answer_away_in_one_half_is_not_looked_at_by_its_model() -> None:
    tells = company(mostly, noted=lambda i: mostly(i) if FIRST_HALF[i] else i % 8 == 1)
    assert said(tells)[~FIRST_HALF] == pytest.approx(said(company(mostly))[~FIRST_HALF])


def test_what_sales_says_of_a_lead_has_no_say() -> None:
    """A rejection follows a call, and an effect of calls is no intent."""
    assert (said(company(mostly, rejected=lambda i: not mostly(i))) == said(company(mostly))).all()
