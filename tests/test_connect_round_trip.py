"""The round trip of people through each of the four systems: history in, a model, scores out, changes again.

``benchmarks/connect.py`` takes the same way with 5,000 people.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from connected import NOW, Account, account_of, people

from connectors.standins.company import STAGES, write_stages
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.salesforce import Salesforce
from features.history import microseconds
from features.ingestion import ingest
from features.settings import Settings
from serving import batch
from training.train import train

PEOPLE = 500


class Killed(BaseException):
    """What ends a program at any moment."""


def killing(after: int) -> Callable[[str], None]:
    """Return a listener that kills the program when it hears so much."""
    heard = 0

    def listen(_: str) -> None:
        nonlocal heard
        heard += 1
        if heard == after:
            raise Killed

    return listen


def outcomes_from_elsewhere(account: Account, most: int) -> None:
    """Give Mailchimp's members the stages that it does not know, as a file that names them by their addresses."""
    settings = Settings.model_validate({"sources": [STAGES]})
    assert ingest(account.lake, settings, [write_stages(people(most), account.workspace)], NOW)[0].refused == 0


def score(account: Account, days: float) -> int:
    """Score all open leads as of some days after now, as ``touchstone score`` does; return how many."""
    scorer, history = batch.champion_and_history(account.workspace, account.lake)
    as_of = microseconds(NOW + timedelta(days=days))
    scores = batch.score_open(scorer, history, account.settings.goal, as_of)
    batch.store(account.lake, scores)
    return len(scores)


def written(account: Account) -> dict[str, str]:
    """Return the grade that each record of a stand-in bears."""
    standin = account.standin
    if isinstance(standin, HubSpot):
        return {k: v["properties"]["ml_score_grade"] for k, v in standin.objects["contacts"].items()
                if "ml_score_grade" in v["properties"]}  # fmt: skip
    if isinstance(standin, Salesforce):
        return {k: v["Score_Grade__c"] for kind in ("Lead", "Contact") for k, v in standin.objects[kind].items()
                if "Score_Grade__c" in v}  # fmt: skip
    if isinstance(standin, Marketo):
        return {str(k): v["mlScoreGrade"] for k, v in standin.people.items() if "mlScoreGrade" in v}
    assert isinstance(standin, Mailchimp)
    return {k: v["merge_fields"]["SCOREGRADE"] for k, v in standin.people.items() if "SCOREGRADE" in v["merge_fields"]}


def round_trip(name: str, workspace: Path, most: int, lap: Callable[[str], None] = lambda _: None) -> float:
    """Take people through a system and back, killed twice on the way; return the model's ROC AUC on later data."""
    account = account_of(name, workspace, most)
    lap("stand-in")
    with pytest.raises(Killed):
        account.read(killing(after=4))
    results = account.read()
    assert [result for result in results if result.refused] == []
    contacts = len(account.standin.objects.get("Contact", {})) if isinstance(account.standin, Salesforce) else 0
    assert account.told("leads", "count(DISTINCT lead_id)") == [(most + contacts,)]
    if name == "mailchimp":
        outcomes_from_elsewhere(account, most)
    lap("read")
    trained = train(account.lake, account.settings, account.workspace, NOW)
    lap("train")
    scored = score(account, days=0)
    lap("score")

    with pytest.raises(Killed):
        account.sync(say=killing(after=1))
    first = len(written(account))
    rest = account.sync()
    assert (first + rest.written + rest.withheld, rest.refused) == (scored, 0)
    assert len(written(account)) == first + rest.written
    assert account.sync().written == 0

    before = written(account)
    score(account, days=30)  # a month without a touch
    account.as_of = NOW + timedelta(days=30)
    wanted = account.sync(dry=True).changes
    again = account.sync()
    after = written(account)
    assert 0 < again.written == len(wanted) < scored
    assert {change["record"]: change["grade"] for change in wanted}.items() <= after.items()
    assert {k for k in before if before[k] != after[k]} <= {change["record"] for change in wanted}
    lap("write")
    return float(trained.metrics["roc_auc"])


@pytest.mark.parametrize("name", ["hubspot", "salesforce", "marketo", "mailchimp"])
def test_people_go_round_and_only_what_changed_goes_again(name: str, tmp_path: Path) -> None:
    assert 0.5 <= round_trip(name, tmp_path, PEOPLE) < 0.85  # more would be known only in hindsight
