"""Doubts: why leads that are asked for cannot be scored, in one sentence for everything that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np

from features.objections import objecting
from features.outcomes import open_moments, outcomes_of
from features.settings import Exploration, Goal
from features.verbs import Moments
from serving.brought import Brought
from serving.exploration import OFF, WHY, withheld
from serving.groups import Group
from serving.messages import MOST_LEADS, ScoreRequest

NAMED = 5  # leads that an error names


def problems(
    request: ScoreRequest | Brought, groups: Sequence[Group], goal: Goal, exploration: Exploration = OFF
) -> list[str]:
    """Return a sentence for everything that is wrong with a request."""
    count = len(request.lead_ids) + len(request.leads)
    doubtful = [group for group in groups if not _are_all_open(group.moments, goal)]  # none, in most requests
    said = []
    if count == 0:
        said.append("Name at least one lead in lead_ids, or send one along in leads.")
    if count > MOST_LEADS:
        said.append(f"{count} leads are more than the {MOST_LEADS} of one request. Send several requests.")
    if unknown := _in_order(found for group in doubtful for found in _unknown(group)):
        said.append(f"{_listed(unknown)} not in the lake. Ingest first, or send the history along in leads.")
    if twice := [lead_id for lead_id, times in Counter(lead.lead_id for lead in request.leads).items() if times > 1]:
        said.append(f"{_listed(twice)} sent along more than once. Send each lead once.")
    if objectors := [lead_id for group in groups for lead_id in _objectors(_here(group.moments))]:
        said.append(f"{_listed(objectors)} not scored, since the person objected to profiling.")
    if kept_back := [*compress(request.lead_ids, withheld(request.lead_ids, exploration))]:
        said.append(f"{_listed(kept_back)} not scored: {WHY}.")
    if not_open := _in_order(found for group in doubtful for found in _closed(group, goal)):
        said.append(f"{_listed(not_open)} not open as of then: not created yet, or already won or lost.")
    return [*said, *(sentence for group in doubtful for sentence in _duplicates(_here(group.moments)))]


def _unknown(group: Group) -> list[tuple[int, str]]:
    """Return the leads that are not known, with their places in the request."""
    return [(place, lead_id) for place, lead_id, at in _placed(group) if at < 0]


def _placed(group: Group) -> Iterable[tuple[int, str, int]]:
    return zip(group.places, group.lead_ids, group.moments.lead.tolist(), strict=True)


def _in_order(found: Iterable[tuple[int, str]]) -> list[str]:
    return [lead_id for _, lead_id in sorted(found, key=lambda one: one[0])]


def _are_all_open(moments: Moments, goal: Goal) -> bool:
    """Say whether all leads are known, no duplicates, and open as of then."""
    if (moments.lead < 0).any():
        return False
    return len(open_moments(moments.history, outcomes_of(moments.history, goal), moments)) == len(moments)


def _closed(group: Group, goal: Goal) -> list[tuple[int, str]]:
    """Return the leads that are known, no duplicates, and not open as of then, with their places in the request."""
    history, here = group.moments.history, _here(group.moments)
    live = history.live(here.lead, here.as_of)
    asked = Moments(history, here.lead[live], here.as_of[live])
    still = open_moments(history, outcomes_of(history, goal), asked).lead
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
