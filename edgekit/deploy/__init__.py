"""Deployment: which artifact of a model is current on a device, and which one was before.

    ROOT/models/MODEL/current -> ../../store/ID     replaced by one rename
    ROOT/models/MODEL/previous                      the last good one: what `rollback` returns to

Only an artifact whose every file was verified on the device becomes current.
"""

from edgekit.deploy.activation import Deployment, Proof, deploy, rollback
from edgekit.deploy.status import ModelStatus, status

__all__ = ["Deployment", "ModelStatus", "Proof", "deploy", "rollback", "status"]
