"""Doubts: why leads that are asked for cannot be scored, in one sentence for everything that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from features.objections import objecting
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal
from features.verbs import Moments
from serving.groups import Group
from serving.messages import MOST_LEADS, ScoreRequest

NAMED = 5  # leads that an error names


def problems(request: ScoreRequest, groups: Sequence[Group], goal: Goal) -> list[str]:
    """Return a sentence for everything that is wrong with a request."""
    count = len(request.lead_ids) + len(request.leads)
    sent_ids = Counter(lead.lead_id for lead in request.leads)
    twice = [lead_id for lead_id, times in sent_ids.items() if times > 1]
    unknown = _in_order((place, lead_id) for group in groups for place, lead_id, at in _placed(group) if at < 0)
    here = [_here(group.moments) for group in groups]
    not_open = _in_order(
        found for group, known in zip(groups, here, strict=True) for found in _closed(group, known, goal)
    )
    objectors = [lead_id for known in here for lead_id in _objectors(known)]
    sentences = (
        (count == 0, "Name at least one lead in lead_ids, or send one along in leads."),
        (count > MOST_LEADS, f"{count} leads are more than the {MOST_LEADS} of one request. Send several requests."),
        (unknown, f"{_listed(unknown)} not in the lake. Ingest first, or send the history along in leads."),
        (twice, f"{_listed(twice)} sent along more than once. Send each lead once."),
        (objectors, f"{_listed(objectors)} not scored, since the person objected to profiling."),
        (not_open, f"{_listed(not_open)} not open as of then: not created yet, or already won or lost."),
    )
    return [
        *(sentence for broken, sentence in sentences if broken),
        *(sentence for known in here for sentence in _duplicates(known)),
    ]


def _placed(group: Group) -> Iterable[tuple[int, str, int]]:
    return zip(group.places, group.lead_ids, group.moments.lead.tolist(), strict=True)


def _in_order(found: Iterable[tuple[int, str]]) -> list[str]:
    return [lead_id for _, lead_id in sorted(found, key=lambda one: one[0])]


def _closed(group: Group, here: Moments, goal: Goal) -> list[tuple[int, str]]:
    """Return the leads that are known, no duplicates, and not open as of then, with their places in the request."""
    history = here.history
    live = history.live(here.lead, here.as_of)
    asked = Moments(history, here.lead[live], here.as_of[live])
    still = open_moments(history, outcomes_of(history, goal), asked).lead
    if len(still) == len(group.lead_ids):  # as in most requests
        return []
    gone = {*asked.lead.tolist()} - {*still.tolist()}
    return [(place, history.lead_ids[at]) for place, _, at in _placed(group) if at in gone]


def still_open(moments: Moments, goal: Goal) -> Moments:
    """Return the moments of leads that can be scored."""
    history, here = moments.history, _here(moments)
    objects = objecting(history, int(here.as_of[0])) if len(here) else np.empty(0, bool)
    may = Moments(history, here.lead[~objects[here.lead]], here.as_of[~objects[here.lead]]) if len(here) else here
    return open_moments(history, outcomes_of(history, goal), may)


def _duplicates(here: Moments) -> list[str]:
    """Return a sentence for each lead, up to a few, that is known to be another lead's duplicate."""
    history = here.history
    gone = here.lead[~history.live(here.lead, here.as_of)][:NAMED]
    heirs = history.turned_out(gone, int(here.as_of[0])) if len(gone) else gone
    pairs = ((history.lead_ids[lead], history.lead_ids[heir]) for lead, heir in zip(gone, heirs, strict=True))
    return [f"{duplicate} is a duplicate of {lead}: ask for that lead." for duplicate, lead in pairs]


def _objectors(here: Moments) -> list[str]:
    """Return the leads that may not be profiled as of then."""
    history = here.history
    objects = objecting(history, int(here.as_of[0])) if len(here) else np.empty(0, bool)
    return [history.lead_ids[lead] for lead in here.lead.tolist() if objects[lead]]


def _here(moments: Moments) -> Moments:
    """Return the moments of leads that are in the history."""
    return Moments(moments.history, moments.lead[moments.lead >= 0], moments.as_of[moments.lead >= 0])


def _listed(lead_ids: Sequence[str]) -> str:
    named = ", ".join(lead_ids[:NAMED])
    more = f" and {len(lead_ids) - NAMED} more" if len(lead_ids) > NAMED else ""
    return f"{named}{more} {'is' if len(lead_ids) == 1 else 'are'}"
