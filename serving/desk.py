"""The desk: what the service answers, whichever way it is asked. One implementation behind every route.

It holds the champion, the resident history, the scores said lately and the work list. Nothing here knows HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bentoml.exceptions import InvalidArgument, NotFound

from features.errors import DataError, ModelError
from features.history import History, microseconds, moment_of
from features.lake import Lake
from features.matrix import feature_matrix
from features.settings import Exploration, Goal, Settings
from serving import dossier, groups, ledger
from serving.brought import Brought, request_of
from serving.champion import Champion
from serving.changes import changes
from serving.doubts import problems, still_open
from serving.explanations import explanations, outlooks
from serving.exploration import OFF
from serving.goals import Goals
from serving.groups import Group
from serving.intake import Intake
from serving.messages import ExplainRequest, FlatRequest, ScoreRequest
from serving.replies import (
    AttributionReply,
    ExplanationReply,
    ExplanationsReply,
    FeatureLine,
    FlatReply,
    LeadReply,
    LeadsReply,
    ModelReply,
    ScoreReply,
)  # fmt: skip
from serving.resident import Residence
from serving.said import Said
from serving.scorer import Scorer, load, promoted
from serving.scores import Score, scores
from serving.worklist import Asked, Worklist

FLAT_REASONS = 3  # up, and as many down, in a flat answer


class Desk:
    """All that the service of one workspace knows.

    Raises:
        ModelError: when no champion can be loaded.

    """

    def __init__(self, workspace: Path, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.workspace, self.settings = workspace, settings
        self.lake = Lake(workspace / "lake")
        self.champion = Champion(workspace / "models")
        self.goals = Goals(workspace, settings)
        self.residence = Residence(self.lake)
        self.worklist = Worklist(self.lake, settings.goal, explores=settings.exploration.share > 0)
        self.intake = Intake(self, clock)
        self.said = Said(lambda: (self.champion.scorer.version, tuple(sorted(self.residence.versions().items()))))

    def warm_up(self, now: datetime) -> None:
        """Score a lead that does not exist: what is compiled at its first use is compiled before anybody asks."""
        told = {"occurred_at": (now - timedelta(days=1)).isoformat(), "kind": "page_view", "channel": "Direct"}
        lead = {"lead_id": "nobody", "created_at": (now - timedelta(days=30)).isoformat(), "touches": [told]}
        scorer, body = self.champion.scorer, json.dumps({"leads": [lead]}).encode()
        (group,) = groups.sent(self.lake, request_of(body).leads, now, scorer.spec)
        scores(scorer, group.moments)

    # What is asked

    def scored(self, request: ScoreRequest | Brought, now: datetime) -> bytes:
        """Return a ScoresReply as JSON.

        Raises:
            InvalidArgument: naming everything that is wrong with the request.

        """
        if request.goal:
            scorer, goal = self.goals.scorer(request.goal), self.settings.goals[request.goal]
            stored, sent = self._answers(request, now, scorer, goal)
            return _scores_reply([*stored, *sent])
        if not request.leads and request.as_of is None:
            kept = self.said.of(request.lead_ids, microseconds(now))
            if kept is not None:
                return _scores_reply(kept)
        scorer, heard = self.champion.scorer, self.said.heard
        stored, sent = self._answers(request, now, scorer, self.settings.goal, self.settings.exploration)
        if request.as_of is None and heard == self.said.heard and scorer is self.champion.scorer:
            self.said.keep(request.lead_ids, stored, microseconds(now))
        return _scores_reply([*stored, *sent])

    def _answers(
        self, request: ScoreRequest | Brought, now: datetime, scorer: Scorer, goal: Goal, exploration: Exploration = OFF
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the scores, as JSON, of the leads that were asked by id, and of those that were sent along."""
        as_of = request.as_of or now
        stored = groups.stored(self.residence, request.lead_ids, as_of, scorer.spec)
        sent = groups.sent(self.lake, request.leads, as_of, scorer.spec)
        _refuse(problems(request, [*stored, *sent], goal, exploration))
        return (
            _contents(scorer, stored, len(request.lead_ids), as_of, now),
            _contents(scorer, sent, len(request.leads), as_of, now),
        )

    def flat(self, request: FlatRequest, now: datetime) -> FlatReply:
        """Return one score in flat keys."""
        asked = ScoreRequest(lead_ids=[request.lead_id], as_of=request.as_of)
        content = self.scored(asked, now).removeprefix(b'{"scores":[').removesuffix(b"]}")
        score = ScoreReply.model_validate_json(content)
        reasons = {
            f"{direction}_{i + 1}": texts[i] if i < len(texts) else ""
            for direction, texts in (
                ("up", [reason.text for reason in score.reasons if reason.effect > 0]),
                ("down", [reason.text for reason in score.reasons if reason.effect < 0]),
            )
            for i in range(FLAT_REASONS)
        }
        return FlatReply.model_validate({**score.model_dump(exclude={"reasons"}), **reasons})

    def explained(self, request: ExplainRequest, now: datetime) -> ExplanationsReply:
        """Return all effects behind some leads' scores, and their outlook."""
        as_of, scorer = request.as_of or now, self.champion.scorer
        stored = groups.stored(self.residence, request.lead_ids, as_of, scorer.spec)
        asked = ScoreRequest(lead_ids=request.lead_ids)
        _refuse(problems(asked, stored, self.settings.goal, self.settings.exploration))
        found: dict[int, ExplanationReply] = {}
        for group in stored:
            found |= zip(group.places, explanations(scorer, group.moments, as_of), strict=True)
        return ExplanationsReply(explanations=[found[i] for i in range(len(request.lead_ids))])

    def lead(self, lead_id: str, now: datetime) -> LeadReply:
        """Return all that sales wants to see of a lead.

        Raises:
            NotFound: when it is not in the lake.

        """
        known = dossier.known_of(self.lake, lead_id, now)
        if known is None:
            raise NotFound(f"{lead_id} is not in the lake. Ingest first.")
        found = groups.stored(self.residence, [lead_id], now, self.champion.scorer.spec)
        asked, goal = ScoreRequest(lead_ids=[lead_id]), self.settings.goal
        why_not = problems(asked, found, goal, self.settings.exploration)
        answered = {} if why_not else self.cards([lead_id], now)[lead_id]
        story, stored = dossier.timeline(self.lake, lead_id, now), dossier.score_history(self.lake, lead_id, now)
        return LeadReply.model_validate({
            **known,
            "score": answered or None,
            "not_scored": " ".join(why_not) or None,
            "timeline": story["events"],
            "events": story["total"],
            "scores": stored,
            "changes": [] if why_not else self._changes(found[0].moments.history, stored[:1], now),
        })  # fmt: skip

    def leads(self, asked: Asked, now: datetime) -> LeadsReply:
        """Return a page of the work list, with the strongest reasons and the outlook of the leads on it."""
        page = self.worklist.page(asked)
        said = self.cards([row["lead_id"] for row in page.rows if not (row["objects"] or row["withheld"])], now)
        rows = [row | {"score": said.get(row["lead_id"])} for row in page.rows]
        found = {"leads": rows, "total": page.total, "offset": asked.offset, "limit": asked.limit}
        return LeadsReply.model_validate(found)

    def cards(self, lead_ids: Sequence[str], now: datetime) -> dict[str, dict[str, Any]]:
        """Return the present score of leads that are open, with reasons and outlook, by lead."""
        scorer, found = self.champion.scorer, dict[str, dict[str, Any]]()
        for group in groups.stored(self.residence, lead_ids, now, scorer.spec):
            moments = still_open(group.moments, self.settings.goal)
            ahead = outlooks(scorer, feature_matrix(scorer.spec.features, moments))
            for score, one in zip(scores(scorer, moments), ahead, strict=True):
                found[score.lead_id] = _reply(score, now, now).model_dump(exclude={"lead_id"}) | one
        return found

    def attribution(self, run_id: str | None = None) -> AttributionReply:
        """Return the runs, and what one of them said; by default the latest.

        Raises:
            NotFound: when there is no such run.

        """
        run = ledger.run(self.workspace, run_id)
        if run is None and run_id is not None:
            raise NotFound(f"There is no attribution run {run_id}. GET /attribution lists them.")
        return AttributionReply.model_validate({"runs": ledger.runs(self.workspace), "run": run})

    def model(self) -> ModelReply:
        """Return what the champion is made of, and the versions that served."""
        scorer = self.champion.scorer
        spec = scorer.spec
        return ModelReply(
            version=scorer.version,
            evidence=spec.evidence,
            horizon_days=spec.horizon_days,
            base_rate=spec.base_rate,
            leads=spec.leads,
            outcomes=spec.outcomes,
            learned_until=moment_of(spec.learned_until),
            members=scorer.members,
            features=[FeatureLine(name=f.name, about=f.about, unit=f.unit, group=f.group) for f in spec.features],
            served_before=promoted(self.workspace / "models")[1:],
        )

    def _changes(self, history: History, last: Sequence[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
        """Return what lies between the score that was stored last, if there is one, and the present one."""
        for score in last:
            later = self.champion.scorer
            moments = microseconds(score["as_of"]), microseconds(now)
            try:
                same = score["model_version"] == later.version
                earlier = later if same else load(self.workspace / "models" / score["model_version"])
                return [asdict(one) for one in changes(earlier, later, history, score["lead_id"], *moments).told]
            except (DataError, ModelError):  # the model is gone, and with it what it would say now
                return []
        return []

    # What is known

    def with_colleagues(self, lead_ids: set[str]) -> set[str]:
        """Return leads with those whose features look at them, since they share an account."""
        now = self.residence.now
        if now is None or not self.champion.scorer.spec.looks_at_accounts:
            return lead_ids
        return lead_ids | now.colleagues(sorted(lead_ids))

    def read_again(self, more: tuple[str, ...]) -> None:
        """Read everything that is held in memory: others have changed the lake."""
        resident = self.residence.read(more)
        self.intake.seen.read()
        with self.residence.changing:
            self.said.forget([])
            now = self.intake.clock()
            self.worklist.make(resident.history, microseconds(now))
            self.put_in_place(set(resident.stale), now)

    def put_in_place(self, lead_ids: set[str], now: datetime) -> None:
        """Put leads of whom more is known in their place in the work list."""
        for group in groups.stored(self.residence, sorted(lead_ids), now, self.champion.scorer.spec):
            here = group.moments.lead[group.moments.lead >= 0]
            self.worklist.renew(group.moments.history, here, microseconds(now))

    def took_in(self, lead_ids: set[str], before: Mapping[str, int]) -> None:
        """Take note that the service stored more of some leads; the lake was of some versions before."""
        self.residence.told(lead_ids, before, self.residence.versions())
        self.said.forget(self.with_colleagues(lead_ids))


def _contents(scorer: Scorer, groups: Sequence[Group], count: int, as_of: datetime, now: datetime) -> list[bytes]:
    """Return each score as JSON, in the order in which they were asked."""
    found = [b""] * count
    for group in groups:
        for place, score in zip(group.places, scores(scorer, group.moments), strict=True):
            found[place] = _reply(score, as_of, now).model_dump_json().encode()
    return found


def _scores_reply(contents: Sequence[bytes]) -> bytes:
    return b'{"scores":[' + b",".join(contents) + b"]}"


def _reply(score: Score, as_of: datetime, now: datetime) -> ScoreReply:
    reasons = [vars(reason) for reason in score.reasons]
    return ScoreReply.model_validate(vars(score) | {"reasons": reasons, "as_of": as_of, "scored_at": now})


def _refuse(why_not: Sequence[str]) -> None:
    if why_not:
        raise InvalidArgument(" ".join(why_not))
