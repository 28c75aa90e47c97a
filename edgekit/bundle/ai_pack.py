"""Play's AI packs: the module that holds the models of an Android bundle, and which devices get which of them.

A pack is a Gradle module without code. A folder `NAME#group_GROUP` in its assets reaches the devices of that group, as
`NAME`; devices of no group get `#group_other`. Here each variant but the last has a group, which gets it together with
the fallback, and all others get the fallback alone, so whatever is delivered holds a model that runs everywhere. A
device of several groups gets the first: the groups are in the variants' order.

Which devices are in a group is asked for in words (`selectors`) and written as Play's device targeting configuration.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import msgspec

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, snake
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bundle.kind import Content, Request, Variant

DELIVERIES = ("install-time", "fast-follow", "on-demand")
OTHER = "other"
_MOST_SELECTORS = 5
_UNITS = {"": 1, "MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_ELEMENTS = {
    "device": ("included-device-id", ("brand", "device")),
    "not-device": ("excluded-device-id", ("brand", "device")),
    "soc": ("system-on-chip", ("manufacturer", "model")),
    "feature": ("required-system-feature", ("name",)),
    "not-feature": ("forbidden-system-feature", ("name",)),
}
_SAID = "ram>=8GB, ram<12GB, soc=QTI/SM8750, device=google/husky, not-device=..., feature=..., not-feature=..."


class Selector(msgspec.Struct, frozen=True):
    """Devices that have all of some properties: memory in bytes (from, below), elements with their values."""

    ram_min_bytes: int | None
    ram_max_bytes: int | None
    elements: tuple[tuple[str, tuple[str, ...]], ...]

    def xml(self) -> str:
        """As an element of the configuration."""
        ram = "".join(
            f' {name}="{value}"'
            for name, value in (("ram-min-bytes", self.ram_min_bytes), ("ram-max-bytes", self.ram_max_bytes))
            if value is not None
        )
        if not self.elements:
            return f"        <config:device-selector{ram}/>"
        inside = []
        for key, (element, attributes) in _ELEMENTS.items():
            for kind, values in self.elements:
                if kind == key:
                    given = " ".join(f"{a}={quoteattr(v)}" for a, v in zip(attributes, values, strict=False))
                    inside.append(f"            <config:{element} {given}/>")
        return "\n".join([f"        <config:device-selector{ram}>", *inside, "        </config:device-selector>"])


def selectors(text: str) -> tuple[Selector, ...]:
    """Reads `soc=QTI/SM8750;ram>=8GB|device=google/husky`: `;` joins properties of one selector, `|` selectors.

    Raises:
        BundleError: it says something else, or more than Play takes.
    """
    found = tuple(_selector(part, text) for part in text.split("|"))
    if len(found) > _MOST_SELECTORS:
        raise BundleError(
            f"{text!r} has {len(found)} selectors, and Play takes {_MOST_SELECTORS} a group.", remedy="Join some."
        )
    return found


def _selector(part: str, text: str) -> Selector:
    ram: dict[str, int] = {}
    elements = []
    for said in part.split(";"):
        size = re.fullmatch(r"\s*ram(>=|<)([0-9]{1,12}(?:\.[0-9]{1,3})?)(MB|GB|MiB|GiB|)\s*", said, re.ASCII)
        key, equals, value = said.strip().partition("=")
        values = tuple(value.split("/", 1))
        if size is not None and size[1] not in ram:
            ram[size[1]] = round(float(size[2]) * _UNITS[size[3]])
        elif equals and key in _ELEMENTS and all(one and one.isprintable() for one in values):
            if len(values) > len(_ELEMENTS[key][1]) or (key == "soc" and len(values) != 2):
                raise _not_understood(said, text)
            elements.append((key, values))
        else:
            raise _not_understood(said, text)
    if ">=" in ram and "<" in ram and ram[">="] >= ram["<"]:
        raise BundleError(f"No device has the memory of {part!r}.", remedy="Write the smaller size after >=.")
    return Selector(ram.get(">="), ram.get("<"), tuple(elements))


def _not_understood(said: str, text: str) -> BundleError:
    return BundleError(
        f"{said.strip()!r} in {text!r} selects no devices.",
        remedy=f"Write properties such as {_SAID}; join them by ; (all of them) and | (one of them).",
    )


def pack_name(request: Request) -> str:
    """The pack's name: letters, digits and `_`, a letter first, as Gradle's plugin wants it."""
    return f"{snake(request.name, 'model')}_models"


def pack_folder(request: Request, variant: Variant) -> str:
    """Where a variant lies in the pack's assets once it is delivered."""
    return f"{pack_name(request)}/{variant.name}"


def group_name(variant: Variant) -> str:
    """The device group that gets a variant."""
    return re.sub(r"[^A-Za-z0-9]", "_", variant.name)


def pack_files(request: Request, payloads: Sequence[Content]) -> dict[str, Content]:
    """The pack's module and the configuration, below `ai-pack/`.

    Args:
        request: its options tell the delivery (`ai-pack`) and who is in each group (`group.VARIANT`).
        payloads: the variants' models as they are to be delivered.

    Raises:
        BundleError: another delivery, a variant whose devices are not told, or devices for what is no such variant.
    """
    delivery, name = request.options["ai-pack"], pack_name(request)
    if delivery not in DELIVERIES:
        raise BundleError(f"{delivery!r} is no way of delivery.", remedy=f"Take one of {', '.join(DELIVERIES)}.")
    targeted = request.variants[:-1]
    groups = {key.removeprefix("group."): text for key, text in request.options.items() if key.startswith("group.")}
    for variant in targeted:
        if variant.name not in groups:
            raise BundleError(
                f"Which devices get {variant.name} is not told.",
                remedy=f"Name them: --option 'group.{variant.name}=ram>=8GB'. All others get {request.fallback.name}.",
            )
    for key in groups:
        if key not in [variant.name for variant in targeted]:
            raise BundleError(
                f"{key!r} is no variant that some devices get.",
                remedy=f"Name one of {', '.join(v.name for v in targeted) or 'several variants'}; the last, "
                f"{request.fallback.name}, goes to all.",
            )
    assets = f"ai-pack/{name}/src/main/assets/{name}"
    files: dict[str, Content] = {
        f"ai-pack/{name}/build.gradle.kts": _build_script(name, delivery),
        "ai-pack/device_targeting_config.xml": targeting(
            [(group_name(variant), selectors(groups[variant.name])) for variant in targeted]
        ),
    }
    for variant, payload in zip(request.variants, payloads, strict=True):
        of = [group_name(variant)] if variant is not request.fallback else [*map(group_name, targeted), OTHER]
        for group in of:
            files[f"{assets}#group_{group}/{variant.name}/model.tflite"] = payload
    return files


def targeting(groups: Sequence[tuple[str, Sequence[Selector]]]) -> str:
    """Play's device targeting configuration; a device of several groups is of the first."""
    listed = "".join(
        f'    <config:device-group name="{name}">\n'
        + "".join(f"{selector.xml()}\n" for selector in chosen)
        + "    </config:device-group>\n"
        for name, chosen in groups
    )
    return (
        '<config:device-targeting-config\n    xmlns:config="http://schemas.android.com/apk/config">\n'
        f"{listed}</config:device-targeting-config>\n"
    )


def _build_script(name: str, delivery: str) -> str:
    return f"""// Made by {generator()}. It needs the Android Gradle Plugin 8.10 or newer.
plugins {{
    id("com.android.ai-pack")
}}

aiPack {{
    packName.set("{name}")
    dynamicDelivery {{
        deliveryType.set("{delivery}")
    }}
}}
"""


def pack_readme(request: Request, package: str, wrapper: str) -> str:
    """The part of README.md on the pack."""
    name, delivery = pack_name(request), request.options["ai-pack"]
    rows = "\n".join(
        f"| `{group_name(variant)}` | {variant.name}, {request.fallback.name} | "
        f"{comment(request.options[f'group.{variant.name}']).replace('|', ' or ')} |"
        for variant in request.variants[:-1]
    )
    at_run = (
        "The models are assets of the app as soon as it is installed: `open(context)`."
        if delivery == "install-time"
        else f"""Once the pack is there (com.google.android.play:ai-delivery),

    val location = AiPackManagerFactory.getInstance(context).getPackLocation("{name}")
    {package}.{wrapper}.open(context, folder = File(location.assetsPath()))"""
    )
    return f"""
## The AI pack

Move `ai-pack/{name}` to the top folder of the project and `ai-pack/device_targeting_config.xml` to the app's. Add
`include(":{name}")` to settings.gradle.kts, `android.experimental.enableDeviceTargetingConfigApi=true` to
gradle.properties, and to the app's build.gradle.kts

    android {{
        assetPacks += ":{name}"
        bundle {{
            deviceTargetingConfig = file("device_targeting_config.xml")
            deviceGroup {{
                enableSplit = true
                defaultGroup = "{OTHER}"
            }}
        }}
    }}

| devices | get | are |
|---|---|---|
{rows}
| all others | {request.fallback.name} | |

{at_run}
"""
