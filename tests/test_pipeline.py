"""Open pipeline: p × amount by channel, and what came of earlier promises, on deals that one can work out by hand."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tables import moment, stage, table, touch, version

from attribution.pipeline import Pipeline, pipeline, trued_up
from attribution.runs import attribute, store
from features.contract import schema
from features.errors import ConfigError, DataError
from features.lake import Lake
from features.settings import Attribution, Settings


def paid(lead: str, day: float, name: str, amount: str, currency: str = "EUR") -> dict[str, Any]:
    return stage(lead, day, name) | {"amount": Decimal(amount), "currency": currency}


def score(lake: Lake, day: float, goal: str | None = None, **probabilities: float) -> None:
    rows = [{"lead_id": lead, "as_of": moment(day), "horizon_days": 90.0, "probability": p, "goal": goal}
            for lead, p in probabilities.items()]  # fmt: skip
    lake.append("scores", pa.Table.from_pylist(rows, schema("scores")))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake. Open on day 10: Ada (Email, Events; 1,000), Bob (Email; 200), Cleo (no touch; 50), Dora (Email).

    Eve was won, Fay lost, and Gus was never scored.
    """
    made = Lake(tmp_path / "lake")
    rows = {
        "leads": [version(lead, 1) for lead in ("ada", "bob", "cleo", "dora", "eve", "fay", "gus")],
        "touches": [touch("ada", 2, channel="Email"), touch("ada", 3, channel="Events"),
                    *(touch(lead, 4) for lead in ("bob", "dora", "eve", "fay", "gus"))],
        "stages": [paid("ada", 4, "opportunity", "700"), paid("ada", 5, "proposal", "1000"),
                   paid("bob", 5, "opportunity", "200"), paid("cleo", 5, "opportunity", "50"),
                   paid("eve", 6, "won", "900"), paid("fay", 6, "opportunity", "9000"), stage("fay", 7, "lost")],
    }  # fmt: skip
    for name, told in rows.items():
        made.append(name, table(name, told))
    score(made, 8, ada=0.9, bob=0.9, eve=0.9, fay=0.9)
    score(made, 9, ada=0.5, bob=0.1, cleo=0.2, dora=0.3)
    return made


def asked(lake: Lake, as_of: datetime, **how: object) -> Pipeline:
    return pipeline(lake, Settings.model_validate({"attribution": how}), as_of, ["linear"])


def promised(run: Pipeline) -> dict[str, tuple[float, float]]:
    rows = run.answer.channels
    return {row.channel: (round(row.credit, 6), float(row.value)) for row in rows.itertuples()}


def test_an_open_lead_promises_p_times_its_latest_amount_and_a_rule_shares_that_out(lake: Lake) -> None:
    run = asked(lake, moment(10))
    assert promised(run) == {"Email": (0.65, 270.0), "Events": (0.25, 250.0)}
    assert run.answer.unattributed == {"credit": pytest.approx(0.2), "value": Decimal("10.00")}
    assert run.summary()["pipeline"] == {"leads": 4, "without_amount": 1, "horizon_days": 90}
    low, high = run.answer.channels.loc[0, ["low", "high"]]
    assert low < 0.65 < high


def test_what_is_foretold_of_another_goal_is_no_part_of_the_pipeline(lake: Lake) -> None:
    before = promised(asked(lake, moment(10)))
    score(lake, 9.5, goal="renewed", ada=0.99)
    assert promised(asked(lake, moment(10))) == before


def test_the_scores_and_stages_of_later_are_not_known_yet(lake: Lake) -> None:
    assert promised(asked(lake, moment(8.5))) == {"Email": (0.45 + 0.9, 630.0), "Events": (0.45, 450.0)}


def test_amounts_in_another_currency_are_worth_the_rate_of_the_day(lake: Lake) -> None:
    lake.append("stages", table("stages", [paid("dora", 9, "opportunity", "100", "USD")]))
    rates = [{"day": moment(day).date(), "currency": "USD", "rate": rate} for day, rate in ((9, 0.5), (10, 0.8))]
    lake.append("rates", pa.Table.from_pylist(rates, schema("rates")))
    assert promised(asked(lake, moment(10)))["Email"][1] == 270 + 0.3 * 100 * 0.8


def test_a_pipeline_is_trued_up_lead_by_lead_as_deals_close(lake: Lake) -> None:
    run = asked(lake, moment(10))
    store(lake, run)
    lake.append("touches", table("touches", [touch("ada", 11, channel="Direct")]))
    news = [paid("ada", 12, "won", "900"), stage("dora", 12, "lost"), paid("gus", 12, "won", "70"),
            paid("cleo", 13, "won", "60")]  # fmt: skip
    lake.append("stages", table("stages", news))
    score(lake, 14, bob=0.4, hal=0.5)
    rows = trued_up(lake, Settings(), moment(15), run.run_id).drop(columns="model").set_index("channel")
    assert rows.to_dict("index") == {
        "(unattributed)": {"promised": 10, "decided": 10, "came": 60, "difference": 50, "open": 0, "unpriced": 0},
        "Direct": {"promised": 0, "decided": 0, "came": 300, "difference": 300, "open": 0, "unpriced": 0},
        "Email": {"promised": 270, "decided": 250, "came": 300, "difference": 50, "open": 80, "unpriced": 0},
        "Events": {"promised": 250, "decided": 250, "came": 300, "difference": 50, "open": 0, "unpriced": 0},
    }


def test_what_came_of_leads_that_had_named_no_amount_breaks_no_promise(lake: Lake) -> None:
    run = asked(lake, moment(10))
    store(lake, run)
    lake.append("stages", table("stages", [paid("dora", 12, "won", "500")]))
    rows = trued_up(lake, Settings(), moment(15), run.run_id).set_index("channel")
    assert rows.loc["Email", ["promised", "decided", "came", "difference", "unpriced"]].tolist() == [270, 0, 0, 0, 500]


def test_a_stored_pipeline_adds_up_to_what_is_expected_and_is_no_stage_s_credit(lake: Lake) -> None:
    store(lake, asked(lake, moment(10)))
    rows = lake.query("SELECT conversion, sum(credit) AS closes, sum(value) AS money FROM credits GROUP BY 1")
    assert rows.to_pylist() == [{"conversion": "open", "closes": pytest.approx(1.1), "money": Decimal("530.0000")}]


def test_what_is_open_is_no_reason_to_fund_a_channel(lake: Lake) -> None:
    run = asked(lake, moment(10))
    assert (run.decision, "decision" in run.summary()) == (None, False)


def test_an_account_promises_what_its_most_promising_contact_does(lake: Lake) -> None:
    versions = [version(lead, 6, account="acme") for lead in ("ada", "bob")]
    lake.append("leads", table("leads", versions))
    assert promised(asked(lake, moment(10), of="account")) == {
        "Email": (pytest.approx(0.5 * 2 / 3 + 0.3, abs=1e-6), 333.33),
        "Events": (pytest.approx(1 / 6, abs=1e-6), 166.67),
    }


def test_without_scores_the_remedy_is_said(lake: Lake) -> None:
    sentence = "No open lead has a stored score of 90 days. Run touchstone score first: p × amount asks for p."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        asked(lake, moment(7))


def test_a_model_that_credits_no_touches_cannot_be_trued_up_and_is_refused(lake: Lake) -> None:
    sentence = (
        "markov:1, score_adjusted cannot credit single open leads, and only rules credit open pipeline. Ask for one, "
        "such as --model linear."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        pipeline(lake, Settings(), moment(10), ["last", "markov:1", "score_adjusted"])


def test_without_a_rule_among_the_models_the_setting_is_named(lake: Lake) -> None:
    by_chain = Settings(attribution=Attribution.model_validate({"models": ["markov:1"]}))
    sentence = (
        "attribution.models names no rule, and only rules credit open pipeline. Ask for one, such as --model linear."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        pipeline(lake, by_chain, moment(10))


def test_only_a_stored_pipeline_is_trued_up(lake: Lake) -> None:
    run = attribute(lake, Settings(), moment(10), ["linear"])
    store(lake, run)
    sentence = f"Run {run.run_id} is no stored pipeline. touchstone attribute --pipeline stores one."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        trued_up(lake, Settings(), moment(15), run.run_id)


def test_what_is_trued_up_is_a_table_of_its_own(lake: Lake) -> None:
    run = asked(lake, moment(10))
    store(lake, run)
    rows = trued_up(lake, Settings(), moment(10), run.run_id)
    assert rows.columns.tolist() == [
        "model",
        "channel",
        "promised",
        "decided",
        "came",
        "difference",
        "open",
        "unpriced",
    ]
    pd.testing.assert_series_equal(rows["promised"], rows["open"], check_names=False)
