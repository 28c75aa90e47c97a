"""Environments: runtimes for a device that has no internet, in a folder of ours that one command takes away again.

    platforms   which wheels a device can load: asked by one script, which needs no Python there
    needs       what a runtime needs, as its own module says
    pip         pip, run for another machine than this one
    fetching    the wheels: chosen, fetched, checked, remembered
    wheels      one wheel: its RECORD, its tags, its files
    refusals    why there is no wheel, and the nearest thing that would do
    records     env.json
    install     uploaded, unpacked and verified there, then made current; removed again

Nothing here touches the device's own Python: its packages, its site folders and its pip stay as they are.
"""

from edgekit.devices.environment.install import Installed, Provisioned, differing, installed, provision, remove
from edgekit.devices.environment.platforms import Platform, ask_platform

__all__ = ["Installed", "Platform", "Provisioned", "ask_platform", "differing", "installed", "provision", "remove"]
