"""SavedModel folders, and the frozen SavedModel that every TensorFlow source exports.

A SavedModel may have many signatures, open shapes and variables that are read at run time. What formats get has one
signature, `serving_default`, shapes that are fixed but for axes that vary, the model's own names, and its weights as
constants: some converters take a variable that they cannot follow for an empty one, without a word.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.convert.sources.base import SAVED_MODEL, Reference, Shapes, Source, fixed_shape
from edgekit.convert.sources.savedmodel_operators import SAVED_MODEL_PB, unsafe_operators
from edgekit.errors import ModelError, UntrustedModelError, first_line
from edgekit.model import Model
from edgekit.specs import DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

SERVING = "serving_default"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class SavedModel(Source):
    """A folder that `tf.saved_model.save` or `keras.Model.export` wrote.

    A signature has no order: inputs and outputs are taken in the order of the alphabet.
    """

    name = "savedmodel"
    exports = ("saved-model",)
    distributions = ("tensorflow",)
    extra = "tensorflow"
    varies = ("saved-model",)
    parts = ("edgekit.convert.sources.savedmodel_operators",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (path / SAVED_MODEL_PB).is_file()

    @classmethod
    def inspect(cls, path: Path, *, trust: bool, shown: str) -> list[str]:
        plugins.require(cls.distributions, extra=cls.extra, purpose="A SavedModel")
        return refuse(unsafe_operators(path, shown), trust=trust, shown=shown)

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        signature = _Signature(path, shown)
        inputs = []
        for given, spec in sorted(signature.inputs.items()):
            if spec.shape.rank is None:
                raise ModelError(
                    f"Input {given!r} of {shown} may have any number of axes.",
                    remedy="Save the model with an input signature that gives its shape.",
                )
            declared = spec.shape.as_list()
            if given not in shapes and declared[:1] == [None]:
                declared[0] = 1  # the batch: one sample, unless the user says otherwise
            layout = signature.image_layout if len(declared) == 4 else None
            shape = fixed_shape(given, declared, shown, shapes)
            inputs.append(TensorSpec(given, shape, dtype_of(spec.dtype.name, given, shown), layout))
        return Model(
            name=name,
            source=self.name,
            build=lambda: path,
            inputs=tuple(inputs),
            outputs=tuple(sorted(signature.outputs)),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        path = Path(model.build())
        signature = _Signature(path, f"the SavedModel of model {model.name!r}")
        declared = [spec.name for spec in model.inputs]
        if sorted(declared) != sorted(signature.inputs) or sorted(model.outputs) != sorted(signature.outputs):
            raise ModelError(
                f"Model {model.name!r} declares the inputs {', '.join(declared)} and the outputs "
                f"{', '.join(model.outputs)}; the signature of its SavedModel has {', '.join(sorted(signature.inputs))}"
                f" and {', '.join(sorted(signature.outputs))}.",
                remedy="Name them in model.py as the signature does.",
            )

        def call(tensors: Sequence[Any]) -> list[Any]:
            return signature.call(dict(zip(declared, tensors, strict=True)), model.outputs)

        def reference(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [tensor.numpy() for tensor in call(arrays)]

        try:
            reference(sample)
        except Exception as error:  # TensorFlow raises what it likes here; the user gets its first line
            shapes = ", ".join(f"{spec.name} {spec.describe()}" for spec in model.inputs)
            raise ModelError(
                f"The SavedModel of model {model.name!r} fails on {shapes}: {first_line(error)}.",
                remedy="Check the shapes (--shape NAME=1,28,28,1), or save the model anew.",
            ) from error
        write_frozen(call, model.inputs, model.outputs, folder)
        return reference


class _Signature:
    """The signature of a SavedModel that is meant: `serving_default`, or the only one."""

    def __init__(self, path: Path, shown: str) -> None:
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(path)
        except Exception as error:  # TensorFlow raises what it likes here; the user gets its first line
            raise ModelError(
                f"{shown} cannot be loaded by TensorFlow {tf.__version__}: {first_line(error)}.",
                remedy="Save it anew with model.export(folder) or tf.saved_model.save.",
            ) from error
        found = self._loaded.signatures
        names = sorted(found)
        if SERVING not in names and len(names) != 1:
            listed = f"has the signatures {', '.join(names)}" if names else "has no signature"
            raise ModelError(
                f"{shown} {listed}, where {SERVING!r} or a single one is needed.",
                remedy="Save it with tf.saved_model.save(model, folder, signatures={'serving_default': function}).",
            )
        self._function = found[SERVING if SERVING in names else names[0]]
        self.inputs: dict[str, Any] = self._function.structured_input_signature[1]
        self.outputs: dict[str, Any] = self._function.structured_outputs

    def call(self, inputs: dict[str, Any], outputs: Sequence[str]) -> list[Any]:
        import tensorflow as tf

        answers = self._function(**{name: tf.convert_to_tensor(value) for name, value in inputs.items()})
        return [answers[name] for name in outputs]

    @property
    def image_layout(self) -> str | None:
        """The layout that all convolutions of the graph read, if they agree."""
        graph = self._function.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        found = {n.attr["data_format"].s.decode() for n in nodes if n.op in ("Conv2D", "DepthwiseConv2dNative")}
        return found.pop() if len(found) == 1 else None


def write_frozen(
    call: Callable[[Sequence[Any]], list[Any]], inputs: Sequence[TensorSpec], outputs: Sequence[str], folder: Path
) -> None:
    """Writes `folder/saved_model`: one signature with the model's names, shapes fixed but for axes that vary, weights
    as constants.

    Args:
        call: runs the model on tensors in the order of `inputs`; returns those of `outputs`, in their order.

    Raises:
        ModelError: a name that a signature cannot have, or a part of the model that cannot be a constant.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for name in (*(spec.name for spec in inputs), *outputs):
        if not _NAME.fullmatch(name):
            raise ModelError(
                f"{name!r} cannot be the name of a SavedModel's input or output.",
                remedy="Use letters, digits and '_', and begin with a letter.",
            )
    varying = [{axis.axis for axis in spec.varies} for spec in inputs]
    signature = [
        tf.TensorSpec([None if i in open_ else size for i, size in enumerate(spec.shape)], spec.dtype, name=spec.name)
        for spec, open_ in zip(inputs, varying, strict=True)
    ]
    try:
        traced = tf.function(lambda *tensors: call(tensors), input_signature=signature).get_concrete_function()
        frozen = convert_variables_to_constants_v2(traced)
    except Exception as error:  # TensorFlow raises what it likes here; the user gets its first line
        raise ModelError(
            f"TensorFlow cannot trace and freeze the model: {first_line(error)}.",
            remedy="The log holds the whole explanation; Python code in a layer or a lookup table are usual causes.",
        ) from error
    if len(frozen.inputs) != len(inputs) or len(frozen.outputs) != len(outputs):
        raise ModelError(
            f"The traced model has {len(frozen.inputs)} inputs and {len(frozen.outputs)} outputs, where "
            f"{len(inputs)} and {len(outputs)} were declared.",
            remedy="Declare each of them, in order, and only those that are used.",
        )
    module = tf.Module()
    serving = tf.function(
        lambda *tensors: dict(zip(outputs, frozen(*tensors), strict=True)), input_signature=signature
    ).get_concrete_function()
    # Nobody trains it further, and the gradients of swish and the like cannot be saved from a frozen graph.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder / SAVED_MODEL, signatures={SERVING: serving}, options=options)


def dtype_of(name: str, tensor: str, shown: str) -> str:
    """The dtype, if a TensorSpec can have it.

    Raises:
        ModelError: it cannot (strings, complex numbers, resources).
    """
    if name not in DTYPES:
        raise ModelError(
            f"Input {tensor!r} of {shown} is of dtype {name}, which no artifact takes.",
            remedy="Leave what makes numbers of it (a vocabulary, decoding) outside of the model.",
        )
    return name


def refuse(unsafe: list[str], *, trust: bool, shown: str) -> list[str]:
    """Returns what inspection found, which is nothing unless `trust`.

    Raises:
        UntrustedModelError: something, and it is not trusted.
    """
    if unsafe and not trust:
        listed = "; ".join(unsafe[:3]) + (f"; and {len(unsafe) - 3} more" if len(unsafe) > 3 else "")
        raise UntrustedModelError(
            f"Opening {shown} may execute code or touch files beyond it ({listed}). Nothing was opened.",
            remedy="If you made this model or trust who did, give --trust; else save it without those parts.",
        )
    return unsafe
