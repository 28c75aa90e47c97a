"""ONNX as a source and as a format, with the real exporter, quantizers and runtime, and each way to be refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.convert import convert, find_model
from edgekit.convert.formats.base import Exported
from edgekit.convert.formats.onnx import Onnx
from edgekit.convert.onnx_model import cleaning, reading, shaping
from edgekit.errors import ModelError, RecipeError, RefusedError
from edgekit.recipe import Recipe, parse_recipe
from edgekit.runner.compare import compare
from edgekit.runner.runtimes import onnxruntime as runtime
from edgekit.runner.session import run_samples
from edgekit.specs import TensorSpec
from tests.convert.conftest import REPOSITORY, make

if TYPE_CHECKING:
    from edgekit.convert import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PRECISIONS = ("float32", "float16", "dynamic-int8", "weight-int8", "int8")
RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def net(*, opset: int = 17, batch: Any = 1, head: bool = True) -> onnx.ModelProto:
    """Two convolutions and, with a head, a matrix product: `image` `(batch, 3, 8, 8)` to `scores`."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], strides=[2, 2], name="second", doc_string="/home/me/net.py:7"),
        helper.make_node("Relu", ["c2"], ["r2" if head else "scores"]),
    ]
    constants = {"w1": weights(16, 3, 3, 3), "b1": weights(16), "w2": weights(16, 16, 3, 3)}
    if head:
        constants |= {"w3": weights(10, 144)}
        nodes += [
            helper.make_node("Flatten", ["r2"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w3"], ["scores"], transB=1, name="head"),
        ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


IMAGES = RANDOM.standard_normal((20, 1, 3, 8, 8)).astype(np.float32)


def saved(model: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def external(folder: Path, location: str = "net.bin") -> onnx.ModelProto:
    """`net` with its weights in `folder/net.bin`, said to be in `location`; also the model, unsaved."""
    model = net()
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    stored = onnx.load(folder / "net.onnx", load_external_data=False)
    for tensor in stored.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    (folder / "net.onnx").write_bytes(stored.SerializeToString())
    return stored


def folder_model(folder: Path, build: str, declared: str) -> Path:
    """A model folder around `net.onnx`."""
    saved(net(), folder)
    (folder / "model.py").write_text(
        "from pathlib import Path\nimport numpy as np\nfrom edgekit.model import Model\n"
        f"from edgekit.specs import TensorSpec\ndef build():\n    import onnx\n    return {build}\n"
        'model = Model(name="net", source="onnx", build=build, files=("net.onnx",), '
        f"{declared})\n"
    )
    return folder


class TestSource:
    def test_a_file_becomes_what_reads_onnx_and_what_reads_programs(self, cache: Path, tmp_path: Path) -> None:
        path = saved(net(), tmp_path)
        outcomes = make(path, "onnx:float32", "torchscript:float32", out=tmp_path / "out")
        assert [o.error for o in outcomes] == [None, None]
        manifests = [o.artifact.manifest for o in outcomes if o.artifact]
        assert [m.provenance.route for m in manifests] == ["onnx", "torch-export"]
        assert all(m.parity.worst_snr_db is None or m.parity.worst_snr_db > 90 for m in manifests)
        assert manifests[0].inputs[0] == TensorSpec("image", (1, 3, 8, 8), "float32")
        assert manifests[0].bindings.outputs == ("scores",)

    def test_weights_beside_the_file(self, cache: Path, tmp_path: Path) -> None:
        external(tmp_path)
        assert find_model(str(tmp_path / "net.onnx")).files == (tmp_path / "net.onnx", tmp_path / "net.bin")
        assert make(tmp_path / "net.onnx", "onnx:float32", out=tmp_path / "out")[0].error is None

    @pytest.mark.parametrize("location", ["../net.bin", "/etc/passwd", "sub/net.bin", "..", "", "a\\net.bin"])
    def test_weights_elsewhere_are_refused(self, location: str, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        external(tmp_path, location)
        with pytest.raises(ModelError, match="not a plain file in its folder"):
            find_model(str(tmp_path / "net.onnx"))

    def test_weights_behind_a_link_are_refused(self, tmp_path: Path) -> None:
        external(tmp_path, "link.bin")
        (tmp_path / "link.bin").symlink_to(tmp_path / "net.bin")
        with pytest.raises(ModelError, match=r"'link.bin', which is a link"):
            find_model(str(tmp_path / "net.onnx"))

    def test_missing_weights(self, tmp_path: Path) -> None:
        external(tmp_path)
        (tmp_path / "net.bin").unlink()
        with pytest.raises(ModelError, match=r"keeps weights \('w1' first\) in 'net.bin', which is not beside it"):
            find_model(str(tmp_path / "net.onnx"))

    def test_weights_cut_short(self, tmp_path: Path) -> None:
        external(tmp_path)
        (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:-1])
        with pytest.raises(ModelError, match=r"wants 5760 bytes for the tensor 'w3'"):
            find_model(str(tmp_path / "net.onnx"))

    def test_a_tensor_that_claims_more_than_its_shape(self, tmp_path: Path) -> None:
        stored = external(tmp_path)
        stored.graph.initializer[0].dims[0] = 2**40
        (tmp_path / "net.onnx").write_bytes(stored.SerializeToString())
        with pytest.raises(ModelError, match=r"for the tensor 'w1'"):
            find_model(str(tmp_path / "net.onnx"))

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_a_truncated_file(self, share: float, tmp_path: Path) -> None:
        path = saved(net(), tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModelError, match="not an ONNX model, or not a whole one"):
            find_model(str(path))

    def test_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_text("<!doctype html><title>404</title>")
        with pytest.raises(ModelError, match="not an ONNX model"):
            find_model(str(tmp_path / "net.onnx"))

    def test_damage_anywhere_is_one_paragraph(self, tmp_path: Path) -> None:
        external(tmp_path)
        whole, random = (tmp_path / "net.onnx").read_bytes(), np.random.default_rng(5)
        outcomes = set()
        for _ in range(300):
            damaged = bytearray(whole)
            for place in random.integers(0, len(damaged), 2):
                damaged[place] = random.integers(0, 256)
            (tmp_path / "net.onnx").write_bytes(bytes(damaged))
            try:
                shaping.input_specs(reading.read(tmp_path / "net.onnx", "net.onnx"), "net.onnx", {})
            except ModelError:
                outcomes.add("refused")
            else:
                outcomes.add("read")
        assert outcomes == {"refused", "read"}

    def test_an_operator_of_another_domain_is_named(self, tmp_path: Path) -> None:
        model = net()
        model.graph.node[1].domain = "com.acme"
        model.graph.node[1].name = "secret"
        model.opset_import.append(helper.make_opsetid("com.acme", 1))
        with pytest.raises(ModelError, match=r"1 × com.acme.Relu \(secret\)"):
            reading.read(saved(model, tmp_path), "net.onnx")

    def test_an_operator_that_does_not_exist(self, tmp_path: Path) -> None:
        model = net()
        model.graph.node[1].op_type = "Rilu"
        with pytest.raises(ModelError, match=r"neither ONNX nor ONNX Runtime has: 1 × Rilu"):
            reading.read(saved(model, tmp_path), "net.onnx")

    def test_a_dynamic_axis_needs_a_shape(self, cache: Path, tmp_path: Path) -> None:
        path = saved(net(batch="batch"), tmp_path)
        error = make(path, "onnx:float32", out=tmp_path / "out")[0].error
        assert isinstance(error, ModelError)
        assert "Input 'image'" in error.what
        assert "has a dynamic axis: 0 (batch)" in error.what
        assert "--shape image=1,3,8,8" in error.remedy

    def test_a_dynamic_axis_is_fixed(self, cache: Path, tmp_path: Path) -> None:
        path = saved(net(batch="batch"), tmp_path)
        ref = find_model(str(path), shapes={"image": (2, 3, 8, 8)})
        outcome = convert(ref, [parse_recipe("onnx:float32")], out=tmp_path / "out")[0]
        assert outcome.artifact is not None
        assert [spec.shape for spec in outcome.artifact.manifest.outputs] == [(2, 10)]

    def test_one_symbol_has_one_size(self) -> None:
        graph = helper.make_graph(
            [helper.make_node("Add", ["a", "b"], ["y"])],
            "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "ab"],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph)
        assert [spec.shape for spec in shaping.input_specs(model, "m", {"a": (3, 4)})] == [(3, 4), (3, 4)]
        with pytest.raises(ModelError, match="axis 'n' of m was given the sizes 3 and 5"):
            shaping.input_specs(model, "m", {"a": (3, 4), "b": (5, 4)})

    @pytest.mark.parametrize(
        ("shapes", "told"),
        [
            ({"picture": (1, 3, 8, 8)}, "no input 'picture'"),
            ({"image": (1, 4, 8, 8)}, "does not fit"),
            ({"image": (1, 3)}, "does not fit"),
        ],
    )
    def test_a_shape_that_does_not_fit(self, shapes: dict[str, tuple[int, ...]], told: str) -> None:
        with pytest.raises(ModelError, match=told):
            shaping.input_specs(net(batch="batch"), "net.onnx", shapes)

    def test_strings_are_refused(self) -> None:
        model = net()
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
        with pytest.raises(ModelError, match="'image' of net.onnx is a tensor of string"):
            shaping.input_specs(model, "net.onnx", {})

    def test_an_output_whose_shape_depends_on_data(self, cache: Path, tmp_path: Path) -> None:
        model = net()
        model.graph.node.append(helper.make_node("NonZero", ["r1"], ["places"]))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("places", TensorProto.INT64, None))
        error = make(saved(model, tmp_path), "onnx:float32", out=tmp_path / "out")[0].error
        assert isinstance(error, ModelError)
        assert "Output 'places'" in error.what
        assert "depends on the data" in error.what

    def test_what_cannot_be_imported_stays_onnx(self, cache: Path, tmp_path: Path) -> None:
        model = net()
        model.graph.node[-1].output[0] = "dense"
        model.graph.node.append(helper.make_node("Unique", ["dense"], ["u", "", "inverse"], name="unique"))
        model.graph.node.append(helper.make_node("Cast", ["inverse"], ["floats"], to=TensorProto.FLOAT))
        model.graph.node.append(helper.make_node("Reshape", ["floats", "shape"], ["back"]))
        model.graph.node.append(helper.make_node("Add", ["back", "dense"], ["scores"]))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 10]), "shape"))
        outcomes = make(saved(model, tmp_path), "onnx:float32", "torchscript:float32", out=tmp_path / "out")
        assert outcomes[0].error is None
        assert isinstance(outcomes[1].error, ModelError)
        assert "1 × Unique (unique)" in outcomes[1].error.what

    SPEC = 'inputs=(TensorSpec("image", (1, 3, 8, 8)),)'

    @pytest.mark.parametrize(
        "build", ['Path(__file__).parent / "net.onnx"', 'onnx.load(Path(__file__).parent / "net.onnx")']
    )
    def test_a_folder_whose_build_returns_a_path_or_a_model(self, build: str, cache: Path, tmp_path: Path) -> None:
        folder = folder_model(tmp_path, build, self.SPEC)
        outcome = make(folder, "onnx:float32", out=tmp_path / "out")[0]
        assert outcome.error is None
        assert outcome.artifact is not None
        assert outcome.artifact.manifest.bindings.outputs == ("output",)

    @pytest.mark.parametrize(
        ("build", "declared", "told"),
        [
            ('"net.onnx"', 'inputs=(TensorSpec("picture", (1, 3, 8, 8)),)', "its graph has image"),
            ('"net.onnx"', 'inputs=(TensorSpec("image", (1, 3, 8, 9)),)', "does not fit"),
            ('"net.onnx"', 'inputs=(TensorSpec("image", (1, 3, 8, 8), "float16"),)', "its graph takes float32"),
            ('"net.onnx"', f'{SPEC}, outputs=("scores", "boxes")', "its graph has scores"),
            ("None", SPEC, "returned NoneType, not a path"),
        ],
    )
    def test_a_folder_that_declares_something_else(
        self, build: str, declared: str, told: str, cache: Path, tmp_path: Path
    ) -> None:
        build = build.replace('"net.onnx"', 'Path(__file__).parent / "net.onnx"')
        error = make(folder_model(tmp_path, build, declared), "onnx:float32", out=tmp_path / "out")[0].error
        assert isinstance(error, ModelError)
        assert told in error.what


def lowered(model: onnx.ModelProto, folder: Path, outputs: tuple[str, ...] = ("scores",)) -> tuple[Exported, Path]:
    """What the chain gives to `convert`, of an ONNX source."""
    source, target = folder / "exported", folder / "lowered"
    source.mkdir()
    target.mkdir()
    specs = shaping.input_specs(model, "model", {})
    cleaning.save(cleaning.clean(model), source / "model.onnx")
    exported = Exported("onnx", source, specs, tuple(TensorSpec(name, (1,)) for name in outputs))
    Onnx().lower(exported, target)
    return exported, target


def made(exported: Exported, target: Path, precision: str, payload: Path, **options: Any) -> list[np.ndarray]:
    """The answers of a payload to `IMAGES`."""
    recipe = Recipe("onnx", precision, options=options)
    calibration = {"image": IMAGES} if precision == "int8" else {}
    converted = Onnx().convert(exported, target, recipe, calibration, payload)
    session, _ = Onnx().session(payload, converted.bindings)
    return run_samples(session, [IMAGES])


def snr(model: onnx.ModelProto, answers: list[np.ndarray]) -> float:
    from edgekit.convert.onnx_model.running import session

    opened = session(model)
    expected = np.stack([opened.run(None, {"image": image})[0] for image in IMAGES])
    found = compare(expected, answers[0])["snr_db"]
    return float("inf") if found is None else float(found)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(folder / "cache"))
        return make(REPOSITORY / "models/digits_cnn", *(f"onnx:{p}" for p in PRECISIONS), out=folder / "out")


class TestFormat:
    def test_five_precisions_of_a_pytorch_model(self, digits: list[Outcome]) -> None:
        assert [o.error for o in digits] == [None] * 5
        manifests = dict(zip(PRECISIONS, (o.artifact.manifest for o in digits if o.artifact), strict=True))
        worst = {name: m.parity.worst_snr_db for name, m in manifests.items()}
        assert worst["float32"] is None or worst["float32"] > 100
        assert worst["float16"] > 60
        assert min(worst["dynamic-int8"], worst["weight-int8"]) > 40
        assert worst["int8"] > 35
        sizes = {name: m.payload_bytes for name, m in manifests.items()}
        assert sizes["float16"] < 0.55 * sizes["float32"]
        assert sizes["weight-int8"] < 0.35 * sizes["float32"]
        assert sizes["int8"] < 0.35 * sizes["float32"]
        assert manifests["int8"].stored_dtypes["int8"] > 0
        assert manifests["float16"].stored_dtypes["float16"] > 0
        assert "int8" not in manifests["float32"].stored_dtypes
        assert all(m.accuracy.drop == 0 for m in manifests.values())
        assert {m.bindings.inputs + m.bindings.outputs for m in manifests.values()} == {("image", "logits")}

    def test_layers_are_called_as_in_pytorch(self, digits: list[Outcome]) -> None:
        assert digits[4].artifact is not None
        model = onnx.load(digits[4].artifact.path / digits[4].artifact.manifest.payload)
        assert [n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm")] == ["0", "2", "6", "8"]

    def test_nothing_of_this_machine_is_in_the_file(self, digits: list[Outcome]) -> None:
        for outcome in digits:
            assert outcome.artifact is not None
            content = (outcome.artifact.path / outcome.artifact.manifest.payload).read_bytes()
            for word in (b"site-packages", b"/tmp/", b".py", b"stack_trace", str(REPOSITORY).encode()):
                assert word not in content

    def test_two_conversions_give_equal_bytes(self, digits: list[Outcome], cache: Path, tmp_path: Path) -> None:
        (again,) = make(REPOSITORY / "models/digits_cnn", "onnx:int8", out=tmp_path / "out")
        assert again.artifact is not None, again.error
        assert again.artifact.id == {o.recipe.precision: o.artifact.id for o in digits if o.artifact}["int8"]

    @pytest.mark.parametrize(("precision", "least"), [("int8", 20), ("dynamic-int8", 30), ("weight-int8", 30)])
    def test_keeping_layers_makes_it_better(self, precision: str, least: float, tmp_path: Path) -> None:
        model = net()
        exported, target = lowered(model, tmp_path)
        names = Onnx().layers(exported, target, Recipe("onnx", precision))
        assert names == ("first", "second", "head")
        none = snr(model, made(exported, target, precision, tmp_path / "a.onnx"))
        some = snr(model, made(exported, target, precision, tmp_path / "b.onnx", keep=["first", "second"]))
        assert least < none < some + 1

    @pytest.mark.parametrize("precision", ["int8", "weight-int8", "float16"])
    def test_keeping_all_layers_is_float32(self, precision: str, tmp_path: Path) -> None:
        model = net()
        exported, target = lowered(model, tmp_path)
        names = list(Onnx().layers(exported, target, Recipe("onnx", precision)))
        floor = 55 if precision == "float16" else 100  # float16 keeps the input's cast
        assert snr(model, made(exported, target, precision, tmp_path / "a.onnx", keep=names)) > floor

    def test_a_layer_that_does_not_exist(self, tmp_path: Path) -> None:
        exported, target = lowered(net(), tmp_path)
        with pytest.raises(RecipeError, match="no layer third to keep"):
            made(exported, target, "int8", tmp_path / "a.onnx", keep=["third"])

    def test_an_option_that_is_no_switch(self) -> None:
        with pytest.raises(RecipeError, match="reduce_range must be true or false"):
            Onnx().validate(Recipe("onnx", "int8", options={"reduce_range": "no"}))

    def test_seven_bits_unless_told_otherwise(self, tmp_path: Path) -> None:
        model = net()
        exported, target = lowered(model, tmp_path)
        made(exported, target, "int8", tmp_path / "seven.onnx")
        made(exported, target, "int8", tmp_path / "eight.onnx", reduce_range=False)
        largest = {}
        for name in ("seven", "eight"):
            tensors = onnx.load(tmp_path / f"{name}.onnx").graph.initializer
            arrays = [numpy_helper.to_array(t) for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
            largest[name] = max(int(np.abs(array.astype(int)).max()) for array in arrays)
        assert largest == {"seven": 64, "eight": 127}

    def test_dynamic_int8_of_convolutions_alone(self, tmp_path: Path) -> None:
        model = net(head=False)
        exported, target = lowered(model, tmp_path)
        with pytest.raises(RefusedError, match="no matrix product or embedding"):
            made(exported, target, "dynamic-int8", tmp_path / "a.onnx")
        assert snr(model, made(exported, target, "dynamic-int8", tmp_path / "a.onnx", convolutions=True)) > 20
        assert "ConvInteger" in {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}

    def test_a_quantized_model_is_not_quantized_again(self, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "first").mkdir()
        exported, target = lowered(net(), tmp_path / "first")
        made(exported, target, "int8", tmp_path / "quantized.onnx")
        np.savez(tmp_path / "data.npz", image=IMAGES)
        outcomes = make(
            tmp_path / "quantized.onnx", "onnx:int8", "onnx:float32", out=tmp_path / "out",
            calibration=tmp_path / "data.npz",
        )  # fmt: skip
        assert outcomes[0].error is not None
        assert "quantized already" in outcomes[0].error.what
        assert outcomes[1].error is not None
        assert "not what it is called" in outcomes[1].error.what

    def test_an_old_opset_is_raised_before_it_is_quantized(self, tmp_path: Path) -> None:
        model = net(opset=11)
        exported, target = lowered(model, tmp_path)
        assert snr(model, made(exported, target, "int8", tmp_path / "a.onnx")) > 20
        made(exported, target, "float32", tmp_path / "b.onnx")
        assert onnx.load(tmp_path / "b.onnx").opset_import[0].version == 11

    def test_weights_beyond_float16_are_told(self, tmp_path: Path) -> None:
        model = net()
        bias = numpy_helper.to_array(model.graph.initializer[1]).copy()
        bias[0] = 1e6
        model.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "b1"))
        exported, target = lowered(model, tmp_path)
        converted = Onnx().convert(exported, target, Recipe("onnx", "float16"), {}, tmp_path / "a.onnx")
        assert converted.notes == ("Values beyond 65504, the largest float16, were clipped in 1 tensors (b1).",)

    def test_explains_what_runs_on_integers(self, tmp_path: Path) -> None:
        exported, target = lowered(net(), tmp_path)
        recipe = Recipe("onnx", "int8")
        made(exported, target, "int8", tmp_path / "a.onnx")
        told = Onnx().explain(exported, target, recipe, tmp_path / "a.onnx")
        runs = {operator.name: (operator.count, operator.runs) for operator in told.operators}
        assert runs["QLinearConv"] == (2, "integer kernel")
        assert told.partitions is None
        assert "no delegate" in told.because

    def test_advises_on_weights_that_are_dequantized_in_every_run(self, tmp_path: Path) -> None:
        exported, target = lowered(net(), tmp_path)
        made(exported, target, "weight-int8", tmp_path / "a.onnx")
        told = Onnx().explain(exported, target, Recipe("onnx", "weight-int8"), tmp_path / "a.onnx")
        assert any("session.disable_quant_qdq=1" in line for line in told.advice)
        runs = {operator.name: operator.runs for operator in told.operators}
        assert runs["FusedConv"] == "float32 kernel, weights dequantized first"

    def test_inputs_and_outputs_bear_the_models_names(self, tmp_path: Path) -> None:
        exported, target = lowered(net(), tmp_path, outputs=("r1",))  # which a value inside is called already
        converted = Onnx().convert(exported, target, Recipe("onnx", "float32"), {}, tmp_path / "a.onnx")
        assert converted.bindings.outputs == ("r1",)
        session, _ = Onnx().session(tmp_path / "a.onnx", converted.bindings)
        assert session.outputs[0]["shape"] == [1, 10]

    def test_an_output_called_like_an_input(self, tmp_path: Path) -> None:
        exported, target = lowered(net(), tmp_path, outputs=("image",))
        converted = Onnx().convert(exported, target, Recipe("onnx", "float32"), {}, tmp_path / "a.onnx")
        assert converted.bindings.outputs == ("image_output",)


class TestRuntime:
    BINDINGS = {"inputs": ["image"], "outputs": ["scores"]}  # noqa: RUF012 - a constant of this class

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        exported, target = lowered(net(), tmp_path)
        made(exported, target, "float32", tmp_path / "model.onnx")
        return str(tmp_path / "model.onnx")

    def test_answers_each_input_anew(self, path: str) -> None:
        session = runtime.load(path, 2, self.BINDINGS)
        assert session.inputs == [
            {"name": "image", "shape": [1, 3, 8, 8], "dtype": "float32", "scale": None, "zero_point": None}
        ]
        both = run_samples(session, [IMAGES[:2]])[0]
        assert not np.array_equal(both[0], both[1])
        assert np.array_equal(both[1], run_samples(runtime.load(path, 1, self.BINDINGS), [IMAGES[1:2]])[0][0])

    def test_a_name_that_is_not_there(self, path: str) -> None:
        with pytest.raises(ValueError, match="no output logits, but scores"):
            runtime.load(path, 1, {"inputs": ["image"], "outputs": ["logits"]})

    def test_a_size_that_varies_is_told_as_none(self, tmp_path: Path) -> None:
        session = runtime.load(str(saved(net(batch="n"), tmp_path)), 1, self.BINDINGS)
        assert session.inputs[0]["shape"] == [None, 3, 8, 8]

    def test_tells_its_version(self) -> None:
        found = runtime.probe()
        assert found["package"] == "onnxruntime"
        assert found["version"]
