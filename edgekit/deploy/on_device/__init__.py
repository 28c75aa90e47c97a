"""edgekit-device: what runs beside an application on the device, and falls back when a model fails there.

    import sys; sys.path.insert(0, "/home/pi/.edgekit/bin/edgekit-device.pyz")
    import edgekit_device

    with edgekit_device.open_model("digits_cnn") as model:
        session = load(model.payload)       # whatever the application runs models with
        model.healthy()                     # after the first good answers
        ...

`deploy` puts it at ROOT/bin/edgekit-device.pyz: one file that Python 3.8 or newer executes or imports, standard library
only, nothing of the rest of EdgeKit. `open_model` gives the artifact that is current, counts what went wrong with it,
and after too many failures makes the one before current again, without a network (docs/fallback.md). Programs in other
languages call `python3 edgekit-device.pyz current MODEL`, or keep to the files (docs/formats/device-store.md).

    links.py    where `current` and `previous` lead, and how they are switched
    record.py   the log of what became current, failed and was left
    whole.py    whether a stored artifact is what its id says
    environment.py    the packages that `edgekit provision` brought
    model.py    `open_model`: starts, failures, the decision to fall back
    web.py, trust.py, fetch.py, pull.py     updates from a release repository (docs/releases.md), by the device itself
    exclusive.py    one pull of a model at a time
"""

from .environment import use_environment
from .links import Links, StoreError
from .model import Model, NoModelError, open_model

__all__ = ["Links", "Model", "NoModelError", "StoreError", "open_model", "use_environment"]
