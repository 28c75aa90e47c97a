"""`--for android --option ai-pack=...`: every device finds the fallback in it; Google's exporter does alike."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from edgekit.bundle import write_bundle
from edgekit.bundle.ai_pack import DELIVERIES, Selector, selectors, targeting
from edgekit.errors import BundleError
from tests.bundle.parsing import assert_parses

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact

CONFIG = "{http://schemas.android.com/apk/config}"
GROUP = "soc=QTI/SM8750|soc=Google/Tensor G3;ram>=8GB"


@pytest.mark.slow
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_every_device_finds_the_fallback(int8: Artifact, float32: Artifact, tmp_path: Path, delivery: str) -> None:
    out = tmp_path / "out"
    write_bundle([int8, float32], "android", out, "reader", {"ai-pack": delivery, "group.tflite-int8": GROUP})
    pack = out / "ai-pack/reader_models"
    models = {path.relative_to(pack / "src/main/assets").as_posix(): path for path in pack.rglob("model.tflite")}
    assert sorted(models) == [
        "reader_models#group_other/tflite-float32/model.tflite",
        "reader_models#group_tflite_int8/tflite-float32/model.tflite",
        "reader_models#group_tflite_int8/tflite-int8/model.tflite",
    ]
    for path, file in models.items():
        artifact = int8 if "tflite-int8/" in path else float32
        assert (artifact.path / artifact.manifest.payload).read_bytes() in file.read_bytes()
    script = (pack / "build.gradle.kts").read_text()
    assert 'id("com.android.ai-pack")' in script
    assert f'packName.set("{pack.name}")' in script
    assert f'deliveryType.set("{delivery}")' in script
    config = ElementTree.parse(out / "ai-pack/device_targeting_config.xml").getroot()
    assert [group.get("name") for group in config] == ["tflite_int8"], "the group of the others is not declared"
    assert assert_parses(out) == 7
    wrapper = next(out.rglob("ReaderModel.kt")).read_text()
    assert '"reader_models/tflite-int8/model.tflite"' in wrapper
    assert not list((out / "src/main").rglob("model.tflite")), "an app has the models once"
    assert (out / "src/androidTest/assets/reader_models/tflite-int8/model.tflite").is_file()
    assert "Loaded.open(instrumentation.context," in next(out.rglob("GoldenTest.kt")).read_text()
    readme = (out / "README.md").read_text()
    assert ('getPackLocation("reader_models")' in readme) == (delivery != "install-time")
    assert "| `tflite_int8` | tflite-int8, tflite-float32 | soc=QTI/SM8750 or soc=Google/Tensor G3;ram>=8GB |" in readme


@pytest.mark.slow
def test_it_is_laid_out_as_googles_exporter_does(int8: Artifact, float32: Artifact, tmp_path: Path) -> None:
    """`ai_edge_litert.aot.ai_pack`, of the LiteRT installed here: its configuration and its folders, for one chip."""
    from ai_edge_litert.aot.ai_pack import export_lib
    from ai_edge_litert.aot.core import aot_types
    from ai_edge_litert.aot.vendors.fallback_backend import FallbackBackend
    from ai_edge_litert.aot.vendors.qualcomm.qualcomm_backend import QualcommBackend

    backends = [
        QualcommBackend.create({"backend_id": QualcommBackend.id(), "soc_model": "SM8750"}),
        FallbackBackend.create({"backend_id": FallbackBackend.id()}),
    ]
    models = [
        aot_types.Model.create_from_path(artifact.path / artifact.manifest.payload) for artifact in (int8, float32)
    ]
    result = aot_types.CompilationResult(models_with_backend=list(zip(backends, models, strict=True)))
    export_lib.export(result, tmp_path / "theirs", "reader_models", "model")
    write_bundle(
        [int8, float32], "android", tmp_path / "ours", "reader",
        {"ai-pack": "install-time", "group.tflite-int8": "soc=Qualcomm/SM8750|soc=QTI/SM8750"},
    )  # fmt: skip
    theirs, ours = (
        ElementTree.parse(next((tmp_path / who).rglob("device_targeting_config*.xml"))).getroot()
        for who in ("theirs", "ours")
    )
    assert _selected(ours) == _selected(theirs)
    assert ours.tag == theirs.tag == f"{CONFIG}device-targeting-config"
    folders = [
        sorted(path.name.split("#group_")[1] for path in (tmp_path / who).rglob("src/main/assets/*#group_*"))
        for who in ("theirs", "ours/ai-pack")
    ]
    assert "other" in folders[0]
    assert "other" in folders[1]
    assert len(folders[0]) == len(folders[1]) == 2


def _selected(config: ElementTree.Element) -> list[list[tuple[str, dict[str, str]]]]:
    return [[(child.tag, child.attrib) for child in selector] for group in config for selector in group]


def test_selectors_in_words() -> None:
    found = selectors(
        "ram>=8GB;ram<12.5GiB;soc=Google/Tensor G3; device=google|not-device=a/b;feature=x.y;not-feature=z"
    )
    assert found == (
        Selector(8 * 10**9, 25 * 2**29, (("soc", ("Google", "Tensor G3")), ("device", ("google",)))),
        Selector(None, None, (("not-device", ("a", "b")), ("feature", ("x.y",)), ("not-feature", ("z",)))),
    )
    config = ElementTree.fromstring(targeting([("g", found)]))
    (group,) = config
    first, second = group
    assert first.attrib == {"ram-min-bytes": "8000000000", "ram-max-bytes": "13421772800"}
    assert [(child.tag.removeprefix(CONFIG), child.attrib) for child in first] == [
        ("included-device-id", {"brand": "google"}),
        ("system-on-chip", {"manufacturer": "Google", "model": "Tensor G3"}),
    ]
    assert [child.tag.removeprefix(CONFIG) for child in second] == [
        "excluded-device-id", "required-system-feature", "forbidden-system-feature",
    ]  # fmt: skip


def test_what_is_selected_is_text() -> None:
    hostile = "soc=a\"&<b/>]]><c'/x"
    config = ElementTree.fromstring(targeting([("g", selectors(hostile))]))
    assert config[0][0][0].attrib == {"manufacturer": 'a"&<b', "model": ">]]><c'/x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' in '' selects no devices"),
        ("ram>8GB", "'ram>8GB' in"),
        ("ram>=8GB;ram>=4GB", "'ram>=4GB' in"),
        ("ram>=8GB;ram<8GB", "No device has the memory"),
        ("soc=SM8750", "'soc=SM8750' in"),
        ("feature=a/b", "'feature=a/b' in"),
        ("device=", "'device=' in"),
        ("device=a\nb", "selects no devices"),
        ("colour=red", "'colour=red' in"),
        ("|".join(f"device=a/{i}" for i in range(6)), "has 6 selectors, and Play takes 5"),
    ],
)
def test_what_selects_nothing(text: str, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        selectors(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ai-pack": "later", "group.tflite-int8": GROUP}, "'later' is no way of delivery.*install-time, fast-follow"),
        ({"ai-pack": "on-demand"}, "Which devices get tflite-int8 is not told"),
        ({"ai-pack": "on-demand", "group.tflite-int8": GROUP, "group.tflite-float32": GROUP}, "goes to all"),
        ({"ai-pack": "on-demand", "group.tflite-int8": GROUP, "group.other": GROUP}, "'other' is no variant"),
        ({"group.tflite-int8": GROUP}, "of an AI pack, and there is none"),
    ],
)
def test_what_does_not_fit(
    int8: Artifact, float32: Artifact, tmp_path: Path, options: dict[str, str], says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        write_bundle([int8, float32], "android", tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_variant_goes_to_all(int8: Artifact, tmp_path: Path) -> None:
    write_bundle([int8], "android", tmp_path / "out", options={"ai-pack": "fast-follow"})
    (model,) = (tmp_path / "out/ai-pack").rglob("model.tflite")
    assert "#group_other/" in str(model)
    assert "device-group " not in (tmp_path / "out/ai-pack/device_targeting_config.xml").read_text()
