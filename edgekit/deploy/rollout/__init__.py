"""Staged rollout: which devices get an artifact when, what stops it, and a journal by which it goes on after a crash.

Nothing here talks to a device. `edgekit.workflows.rollout` does, and writes down each step before and after it:

    plan.py       devices in their order, stages, thresholds: decided once, when a rollout begins
    events.py     what can happen, and the state that follows from all that happened
    journal.py    the events on disk, one line each; one program at a time

The state machine is drawn in docs/rollout.md.
"""

from edgekit.deploy.rollout.events import Event, Phase, State, fold
from edgekit.deploy.rollout.journal import Journal
from edgekit.deploy.rollout.plan import Plan, Stage, make_plan

__all__ = ["Event", "Journal", "Phase", "Plan", "Stage", "State", "fold", "make_plan"]
