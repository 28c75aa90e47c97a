"""`--for c`: compiled with warnings as errors, run with the real runtimes against the golden outputs, and broken.

On aarch64 it is run in tests/devices/test_board.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from edgekit.artifact import Artifact, Bindings, open_artifact
from edgekit.bundle import write_bundle
from edgekit.bundle.c import prefix
from edgekit.bundle.c.source import string
from edgekit.convert import convert, find_model
from edgekit.errors import BundleError
from edgekit.recipe import parse_recipe
from edgekit.specs import Quantization, TensorSpec
from tests.bundle.compiling import compiled
from tests.bundle.test_android import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
ENVIRONMENT = {
    # LiteRT keeps what it made once; what we leak is found by counting (below).
    "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:exitcode=77",
    "UBSAN_OPTIONS": "exitcode=77:print_stacktrace=1",
}


@dataclass(frozen=True)
class Libraries:
    """The real runtimes, out of their wheels."""

    litert: str
    onnxruntime: str

    def environment(self, **others: str) -> dict[str, str]:
        named = {"LITERT_LIBRARY": self.litert, "ONNXRUNTIME_LIBRARY": self.onnxruntime, **others}
        return {**os.environ, **ENVIRONMENT, **named}


@pytest.fixture(scope="session")
def libraries() -> Libraries:
    import ai_edge_litert
    import onnxruntime

    (onnx,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return Libraries(str(Path(ai_edge_litert.__file__).parent / "libLiteRt.so"), str(onnx))


def run(program: Path, *arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture(scope="session")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """digits_cnn for ONNX Runtime."""
    out = tmp_path_factory.mktemp("onnx")
    (outcome,) = convert(find_model("models/digits_cnn"), [parse_recipe("onnx:float32")], out=out)
    assert outcome.error is None
    return open_artifact(out / "digits_cnn" / "onnx-float32")


@pytest.fixture(scope="session")
def bundle(int8: Artifact, onnx: Artifact, float32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """int8, ONNX in float32, and float32 as the fallback, with arrays as well, and under the sanitizers."""
    out = tmp_path_factory.mktemp("c") / "out"
    write_bundle([int8, onnx, float32], "c", out, "digit-reader", {"array": ""})
    compiled(out, "golden_test", *SANITIZE)
    compiled(out, "example", *SANITIZE)
    return out


def test_the_golden_inputs_give_the_golden_outputs(bundle: Path, libraries: Libraries) -> None:
    for models in (bundle / "models", "-"):
        done = run(bundle / "golden_test", models, bundle / "tests/golden", env=libraries.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        said = [line.split(" over ")[0] for line in done.stdout.splitlines()]
        near = "logits: equal to the bit"
        assert said == [f"tflite-int8: {near}", f"onnx-float32: {near}", f"tflite-float32: {near}"], done.stdout


def test_a_wrong_answer_is_found(bundle: Path, libraries: Libraries, tmp_path: Path) -> None:
    shutil.copytree(bundle / "tests/golden", tmp_path / "golden")
    output = tmp_path / "golden/onnx-float32/output-0.npy"
    np.save(output, np.load(output)[::-1].copy())
    done = run(bundle / "golden_test", bundle / "models", tmp_path / "golden", env=libraries.environment())
    assert done.returncode == 3
    assert [("WRONG" in line) for line in done.stdout.splitlines()] == [False, True, False]
    output.write_bytes(b"no array")
    done = run(bundle / "golden_test", bundle / "models", tmp_path / "golden", env=libraries.environment())
    assert done.returncode == 3
    assert "output-0.npy: it is no .npy file" in done.stdout


def test_the_example_names_the_label(bundle: Path, libraries: Libraries) -> None:
    done = run(bundle / "example", bundle / "models", env=libraries.environment())
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "variant tflite-int8"
    index = int(second.split(" is ")[1].split(" ")[0])
    assert second == f"logits: the largest of 10 is {index} ({index})"


def _fake_wheel(folder: Path, version: str, library: str) -> str:
    """LiteRT's library beside the metadata of another version."""
    (folder / "ai_edge_litert").mkdir(parents=True)
    (folder / f"ai_edge_litert-{version}.dist-info").mkdir()
    link = folder / "ai_edge_litert" / "libLiteRt.so"
    link.symlink_to(library)
    return str(link)


@pytest.mark.parametrize(
    ("version", "says"),
    [("2.4.0", "drives 2.2 and 2.3: take LiteRT 2.3"), ("2.1.2", "drives 2.2"), ("2.2.0", "was proven with 2.3")],
)
def test_another_version_of_the_runtime(
    bundle: Path, libraries: Libraries, tmp_path: Path, version: str, says: str
) -> None:
    other = _fake_wheel(tmp_path, version, libraries.litert)
    missing = str(tmp_path / "none.so")
    done = run(bundle / "example", env=libraries.environment(LITERT_LIBRARY=other, ONNXRUNTIME_LIBRARY=missing))
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.count("tflite-") == 2
    fallback = run(bundle / "example", env=libraries.environment(LITERT_LIBRARY=other))
    assert fallback.returncode == 0, fallback.stderr
    assert fallback.stdout.startswith("variant onnx-float32\npassed over: tflite-int8: ")


def test_a_missing_library_and_one_that_is_another(bundle: Path, libraries: Libraries, tmp_path: Path) -> None:
    gone = str(tmp_path / "libLiteRt.so")
    environment = libraries.environment(LITERT_LIBRARY=gone, ONNXRUNTIME_LIBRARY=libraries.litert)
    done = run(bundle / "example", bundle / "models", env=environment)
    assert done.returncode == 1
    litert, onnx, _ = done.stderr.split("; ")
    assert litert.startswith(f"digits_cnn cannot be loaded: tflite-int8: {gone} cannot be loaded: ")
    assert "is not ONNX Runtime: it has no function OrtGetApiBase" in onnx
    swapped = libraries.environment(LITERT_LIBRARY=libraries.onnxruntime, ONNXRUNTIME_LIBRARY=gone)
    done = run(bundle / "example", bundle / "models", env=swapped)
    assert "is not LiteRT 2.2 or 2.3: it has no function" in done.stderr.split("; ")[0]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content[:-1], "is damaged: it is no file of"),
        (lambda content: content[:2000] + bytes([content[2000] ^ 1]) + content[2001:], "is damaged: its sha256 is"),
    ],
)
def test_a_damaged_model(
    bundle: Path, libraries: Libraries, tmp_path: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    shutil.copytree(bundle / "models", tmp_path / "models")
    file = tmp_path / "models/tflite-int8/model.tflite"
    file.write_bytes(damage(file.read_bytes()))
    done = run(bundle / "example", tmp_path / "models", env=libraries.environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("variant onnx-float32\npassed over: tflite-int8: ")
    assert says in done.stdout
    shutil.rmtree(tmp_path / "models")
    none = run(bundle / "example", tmp_path / "models", env=libraries.environment())
    assert none.returncode == 1
    assert none.stderr.count("cannot be opened: No such file or directory") == 3


def test_a_model_that_is_none_or_another_one(
    float32: Artifact, altered: Callable[..., Artifact], libraries: Libraries, tmp_path: Path
) -> None:
    """Bytes that the sha256 vouches for, and that the runtime or the manifest does not."""
    for name, content, says in (
        ("garbage", b"TFL3" * 100, "LiteRT cannot read the model"),
        ("another", (float32.path / float32.manifest.payload).read_bytes(), "the model is another one"),
    ):
        artifact = altered(_handmade(altered, content, tmp_path / name))
        write_bundle([artifact], "c", tmp_path / name / "out")
        program = compiled(tmp_path / name / "out", "example")
        done = run(program, tmp_path / name / "out/models", env=libraries.environment())
        assert done.returncode == 1
        assert says in done.stderr.splitlines()[-1], "LiteRT itself may say more before"


def _handmade(altered: Callable[..., Artifact], content: bytes, folder: Path) -> Artifact:
    from tests.artifacts import handmade

    made = handmade(folder / "artifact", payload=content)
    proven = msgspec.structs.replace(made.manifest.parity, proved_by="litert 2.3.0")
    return Artifact(made.id, made.path, msgspec.structs.replace(made.manifest, parity=proven))


HEADERS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "digit_reader.h"
"""
LEAKS = (
    HEADERS
    + """
static long resident(void) {
  char line[256];
  long kb = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, "VmRSS:", 6) == 0) kb = strtol(line + 6, NULL, 10);
  if (file != NULL) fclose(file);
  return kb;
}

int main(int count, char **arguments) {
  digit_reader_error error = {{0}};
  digit_reader_options options = {0};
  float image[DIGIT_READER_IMAGE_COUNT] = {0}, logits[DIGIT_READER_LOGITS_COUNT];
  options.litert = getenv("LITERT_LIBRARY");
  options.onnxruntime = getenv("ONNXRUNTIME_LIBRARY");
  long after_first = 0;
  for (int i = 0; i < 120; i++) {
    const char *names[] = {"tflite-int8", "onnx-float32", "tflite-float32"};
    options.variant = names[i % 3];
    digit_reader_model *model = digit_reader_open(count > 1 ? arguments[1] : NULL, &options, &error);
    if (model == NULL || !digit_reader_run(model, image, logits, &error)) {
      puts(error.text);
      return 1;
    }
    digit_reader_close(model);
    if (i == 29) after_first = resident();
  }
  options.variant = "none";
  if (digit_reader_open(NULL, &options, &error) != NULL) return 1;
  puts(error.text);
  printf("%ld\\n", resident() - after_first);
  return 0;
}
"""
)


def test_what_is_closed_is_given_back(bundle: Path, libraries: Libraries, tmp_path: Path) -> None:
    (tmp_path / "leaks.c").write_text(LEAKS)
    done = run(compiled(bundle, str(tmp_path / "leaks.c"), "-O1"), bundle / "models", env=libraries.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    unknown, grown_kb = done.stdout.splitlines()
    assert unknown == "digits_cnn has no variant none"
    assert int(grown_kb) < 4000, "90 models more"


THREADS = (
    HEADERS
    + """
enum { THREADS = 4, RUNS = 200 };

typedef struct {
  digit_reader_model *model;
  float value;
  bool same;
} Work;

static void *work(void *given) {
  Work *mine = given;
  float image[DIGIT_READER_IMAGE_COUNT], first[DIGIT_READER_LOGITS_COUNT], logits[DIGIT_READER_LOGITS_COUNT];
  for (int i = 0; i < DIGIT_READER_IMAGE_COUNT; i++) image[i] = mine->value * (float)(i % 7);
  mine->same = digit_reader_run(mine->model, image, first, NULL);
  for (int i = 0; mine->same && i < RUNS; i++)
    mine->same = digit_reader_run(mine->model, image, logits, NULL) && memcmp(first, logits, sizeof first) == 0;
  return NULL;
}

int main(void) {
  const char *names[] = {"tflite-int8", "onnx-float32", "tflite-float32", "tflite-int8"};
  digit_reader_options options = {0};
  pthread_t threads[THREADS];
  Work works[THREADS];
  options.litert = getenv("LITERT_LIBRARY");
  options.onnxruntime = getenv("ONNXRUNTIME_LIBRARY");
  for (int i = 0; i < THREADS; i++) {
    options.variant = names[i];
    works[i] = (Work){digit_reader_open(NULL, &options, NULL), 0.05f * (float)(i + 1), false};
    if (works[i].model == NULL) return 1;
  }
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, &works[i]);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    puts(works[i].same ? "same" : "DIFFERENT");
    digit_reader_close(works[i].model);
  }
  return 0;
}
"""
)


def test_threads_with_a_model_each(bundle: Path, libraries: Libraries, tmp_path: Path) -> None:
    (tmp_path / "threads.c").write_text(THREADS)
    done = run(compiled(bundle, str(tmp_path / "threads.c"), "-O1", "-pthread"), env=libraries.environment())
    assert (done.returncode, done.stdout) == (0, "same\n" * 4), done.stderr


BOTH = """
#include <stdio.h>
#include <stdlib.h>
#include "digit_reader.h"
#include "other.h"

int main(void) {
  digit_reader_options one = {0};
  other_options two = {0};
  one.litert = two.litert = getenv("LITERT_LIBRARY");
  float image[OTHER_IMAGE_COUNT] = {0}, logits[2][OTHER_LOGITS_COUNT];
  digit_reader_model *first = digit_reader_open(NULL, &one, NULL);
  other_model *second = other_open(NULL, &two, NULL);
  if (first == NULL || second == NULL) return 1;
  if (!digit_reader_run(first, image, logits[0], NULL) || !other_run(second, image, logits[1], NULL)) return 1;
  printf("%s %s\\n", digit_reader_variant_name(first), other_variant_name(second));
  digit_reader_close(first);
  other_close(second);
  return 0;
}
"""


def test_two_bundles_in_one_program(bundle: Path, float32: Artifact, libraries: Libraries, tmp_path: Path) -> None:
    """No name of one is a name of the other."""
    other = tmp_path / "out"
    write_bundle([float32], "c", other, "other", {"array": ""})
    compiled(other, "example", *SANITIZE)
    (tmp_path / "both.c").write_text(BOTH)
    objects = next(other.glob("objects-*")).glob("*.o")
    flags = (*SANITIZE, f"-I{other / 'include'}")
    program = compiled(bundle, str(tmp_path / "both.c"), *flags, more=objects)
    done = run(program, env=libraries.environment())
    assert (done.returncode, done.stdout) == (0, "tflite-int8 tflite-float32\n"), done.stderr


QUANTIZE = """
#include <stdio.h>
#include "tiny.h"

int main(void) {
  const float scale[] = {0.5f, 0.25f}, one[] = {0.1f};
  const int32_t zero[] = {0, -3}, point[] = {7};
  const tiny_tensor per_channel = {"x", "x", TINY_INT8, 3, {1, 2, 3}, 6, 2, scale, zero, 1};
  const tiny_tensor unsigned8 = {"x", "x", TINY_UINT8, 1, {6}, 6, 1, one, point, 0};
  const tiny_tensor wide = {"x", "x", TINY_INT32, 1, {6}, 6, 1, one, point, 0};
  const float real[] = {0.25f, -0.75f, 1e30f, 0.25f, -1e30f, (float)(0.0 / 0.0 * 0)};
  int8_t a[6];
  uint8_t b[6];
  int32_t c[6];
  float back[6];
  tiny_quantize(&per_channel, real, a);
  tiny_quantize(&unsigned8, real, b);
  tiny_quantize(&wide, real, c);
  for (int i = 0; i < 6; i++) printf("%d %u %d\\n", a[i], (unsigned)b[i], (int)c[i]);
  tiny_dequantize(&per_channel, a, back);
  for (int i = 0; i < 6; i++) printf("%g ", (double)back[i]);
  return 0;
}
"""


def test_quantization_is_numpys(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    write_bundle([_proven(altered)], "c", tmp_path / "out")
    (tmp_path / "quantize.c").write_text(QUANTIZE)
    program = compiled(tmp_path / "out", str(tmp_path / "quantize.c"), *SANITIZE)
    *rows, back = run(program, env={**os.environ, **ENVIRONMENT}).stdout.splitlines()
    real = np.array([0.25, -0.75, 1e30, 0.25, -1e30, 0], np.float32)

    def stored(scale: np.ndarray, zero: np.ndarray, dtype: str) -> np.ndarray:
        limits = np.iinfo(dtype)
        return np.clip(np.round(real / scale) + zero, limits.min, limits.max).astype(dtype)

    scale, zero = np.repeat(np.float32([0.5, 0.25]), 3), np.repeat([0, -3], 3)
    one = np.full(6, np.float32(0.1))
    wanted = zip(
        stored(scale, zero, "int8"),
        stored(one, np.full(6, 7), "uint8"),
        [9, -1, 2147483647, 9, -2147483648, 7],
        strict=True,
    )
    assert rows[:5] == [" ".join(map(str, row)) for row in wanted][:5]
    assert rows[5].split()[0] == "0", "NaN is stored as 0"
    assert [float(v) for v in back.split()] == [*(stored(scale, zero, "int8")[:5] - zero[:5]) * scale[:5], 0.75]


def _proven(altered: Callable[..., Artifact], **changes: object) -> Artifact:
    manifest = altered().manifest
    return altered(parity=msgspec.structs.replace(manifest.parity, proved_by="litert 2.3.0"), **changes)


def test_hostile_names_and_every_dtype(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    """Keywords, quotes, comments, trigraphs: it compiles, as C and as C++, and each name is what it was."""
    names = [*HOSTILE, "??/", "int", "errno", "model", "failure", "*/ int x; /*", "*\\ int x; \\*"]
    names += ["given", "answers", "error", "options", "count", "i", "random", "main"]  # the code's own, and C's
    dtypes = ("float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
    tensors = [TensorSpec(name, (1, 2)) for name in names]
    tensors += [TensorSpec(f"plain_{dtype}", (2,), dtype) for dtype in dtypes]
    tensors += [
        TensorSpec(f"q_{dtype}", (1, 2), dtype, quantization=Quantization((0.5, 3.9e-07), (0, -3), 1))
        for dtype in ("int8", "uint8", "int16", "int32")
    ]
    bound = tuple(tensor.name for tensor in tensors)
    artifact = _proven(
        altered,
        inputs=tuple(tensors),
        outputs=tuple(tensors),
        bindings=Bindings(bound, bound),
        labels=dict.fromkeys(names[:3], ("one", 'quote" \\ ??/ ü')),
    )
    out = tmp_path / "out"
    write_bundle([artifact], "c", out, "class")
    (out / "names.c").write_text(
        '#include <stdio.h>\n#include "class_.h"\n#include "golden.h"\nint main(void) {\n'
        "  const class__variant *v = class__model_description.variants;\n"
        f"  for (int i = 0; i < {len(tensors)}; i++) {{ fputs(v->outputs[i].name, stdout); putchar(0); }}\n"
        "  fputs(class__labels_class_2[1], stdout);\n  return 0;\n}\n"
    )
    shown = subprocess.run([compiled(out, str(out / "names.c"))], capture_output=True, timeout=60).stdout
    assert shown.decode().split("\0") == [*bound, 'quote" \\ ??/ ü']
    (out / "user.cpp").write_text(
        '#include "class_.h"\nint main() { return class__open(nullptr, nullptr, nullptr) != nullptr; }\n'
    )
    checked = subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{out / 'include'}", "-fsyntax-only", out / "user.cpp"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    compiled(out, "example")


def test_an_input_does_not_hide_a_type_of_the_header(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    spec = TensorSpec("digits_error", (1,))
    write_bundle([_proven(altered, inputs=(spec,), outputs=(spec,))], "c", tmp_path / "out", "digits")
    header = (tmp_path / "out/include/digits.h").read_text()
    assert "const float digits_error_2[" in header
    assert "float digits_error_3[" in header


def test_literals() -> None:
    assert string('a"b\\?\n1ü') == '"a\\042b\\134\\077\\0121\\303\\274"'
    assert [prefix(name) for name in ("int", "edgekit", "2nd", "a.b-c")] == ["int_", "edgekit_2", "model2_nd", "a_b_c"]
    assert [prefix(name) for name in ("test", "M", "install")] == ["test_", "m_", "install_"], "CMake's own targets"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": (TensorSpec("x", (1, 4), "float16"),)}, "'x' is float16.*does not take"),
        ({"inputs": (TensorSpec("x", (1,) * 9),)}, "does not take"),
        ({"inputs": tuple(TensorSpec(f"x{i}", (1,)) for i in range(65))}, "more than 64"),
        ({"inputs": (TensorSpec("x", (1, 2**31)),)}, "does not take"),
        *(
            ({"inputs": (TensorSpec("x", (1, 2), "int8", quantization=Quantization(*parts)),)}, "does not take")
            for parts in (
                ((), ()),
                ((0.5, 0.5), (0,), 1),
                ((0.5,), ()),
                ((0.5, 0.5), (0, 0), -5),
                ((0.5, 0.5), (0, 0), 2),
                ((0.5, 0.5), (0, 0)),
                ((0.5,) * 3, (0,) * 3, 1),
                ((float("inf"),), (0,)),
                ((1e39,), (0,)),
                ((0.5,), (2**31,)),
            )
        ),
        ({"payload": "payload"}, "payload is a folder"),
    ],
)
def test_what_it_cannot_hold(
    altered: Callable[..., Artifact], tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        write_bundle([_proven(altered, **changes)], "c", tmp_path / "out")


def test_an_option_that_it_does_not_have(altered: Callable[..., Artifact], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no option 'arrays'.*array: compiles the models in"):
        write_bundle([_proven(altered)], "c", tmp_path / "out", options={"arrays": ""})


def test_cmake_builds_and_tests_it(bundle: Path, libraries: Libraries, tmp_path: Path) -> None:
    build = tmp_path / "build"
    for command in (
        ["cmake", "-S", str(bundle), "-B", str(build), "-DCMAKE_BUILD_TYPE=Debug"],
        ["cmake", "--build", str(build)],
        ["ctest", "--test-dir", str(build), "--output-on-failure"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=libraries.environment())
        assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed, 0 tests failed out of 2" in done.stdout
