"""What a schedule has to know of a processor, and the processors that recipes can name.

A recipe names a triple and, by the option `cpu`, a processor in LLVM's words. Without `cpu`, an artifact is built for
the least processor that devices of the triple have in common today, because it is meant to run on other machines than
the one that built it:

    x86_64-linux-gnu        x86-64-v3     AVX2 and FMA: 16 registers of 8 floats (Haswell 2013, Zen 2017 and later)
    aarch64-linux-gnu       generic       NEON: 32 registers of 4 floats
    aarch64-linux-android   generic       likewise
    armv7-linux-gnueabihf   cortex-a7     NEON with fused multiply-add: 16 registers of 4 floats

A processor with AVX-512 has 32 registers of 16 floats. Many x86-64 machines have it, and other libraries use it where
it is. So what is built for `x86-64-v3` without the option has its kernels a second time, for `x86-64-v4`, and the
runtime chooses when it loads the file (docs/decisions, "TVM libraries for x86-64 hold their code twice").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgekit.errors import RecipeError

_V3, _V4, _VNNI = "x86-64-v3", "x86-64-v4", "cascadelake"
_V4_FLAGS = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_WIDER_FLAGS = {_V4: _V4_FLAGS, _VNNI: (*_V4_FLAGS, "avx512_vnni")}

TRIPLES = {
    # triple: (its names, LLVM's name, the processor without `cpu`, features that the processor's name does not imply)
    "x86_64-linux-gnu": (("x86_64", "x86_64-unknown-linux-gnu"), "x86_64-unknown-linux-gnu", _V3, ()),
    "aarch64-linux-gnu": (("aarch64", "arm64"), "aarch64-linux-gnu", "generic", ("+neon",)),
    "aarch64-linux-android": (("android", "android-arm64"), "aarch64-linux-android", "generic", ("+neon",)),
    "armv7-linux-gnueabihf": (("armv7", "armv7l"), "armv7l-linux-gnueabihf", "cortex-a7", ("+neon", "+vfp4")),
}


@dataclass(frozen=True)
class Machine:
    """A processor as schedules see it.

    Args:
        triple: one of `TRIPLES`.
        cpu: in LLVM's words.
        lanes: float32 values in a vector register.
        registers: vector registers.
    """

    triple: str
    cpu: str
    lanes: int
    registers: int

    @property
    def pair(self) -> int:
        """How many products an instruction adds to each of a vector's int32 sums."""
        return 2 if self.triple.startswith("x86_64") and self.lanes in (8, 16) else 1

    @property
    def flags(self) -> tuple[str, ...]:
        """What /proc/cpuinfo says of a processor that can run code for a `wider` machine."""
        return _WIDER_FLAGS.get(self.cpu, ())

    def wider(self, *, integers: bool = False) -> Machine | None:
        """A machine with longer vectors that many processors of this one's kind are; None where there is no such.

        Args:
            integers: with VNNI, for integer kernels.
        """
        return Machine(self.triple, _VNNI if integers else _V4, lanes=16, registers=32) if self.cpu == _V3 else None

    @property
    def needs(self) -> str:
        """What the code needs of a processor, in words."""
        if self.lanes == 16:
            return "AVX-512 with VNNI" if "avx512_vnni" in self.flags else "AVX-512"
        if self.triple.startswith("x86_64"):
            return "AVX2 and FMA" if self.lanes == 8 else "SSE"
        return "NEON"

    def imitated(self) -> Machine:
        """This machine, made to use registers as the other does: for code with the same tiles that runs here."""
        own = canonical_triple(None)
        return replace(self, triple=own, cpu=TRIPLES[own][2])

    def target(self) -> Any:
        """The TVM target. One core: how many threads run is decided on the device, not here."""
        import tvm

        _, llvm, _, features = TRIPLES[self.triple]
        settings: dict[str, Any] = {"kind": "llvm", "mtriple": llvm, "mcpu": self.cpu, "num-cores": 1}
        if features:
            settings["mattr"] = list(features)
        return tvm.target.Target(settings)


def canonical_triple(name: str | None) -> str:
    """The triple that a recipe names; this machine's own without one.

    Raises:
        RecipeError: a triple that is not known here.
    """
    import platform

    wanted = name or platform.machine()
    for triple, (aliases, *_) in TRIPLES.items():
        if wanted == triple or wanted in aliases:
            return triple
    raise RecipeError(
        f"The tvm format does not know the triple {wanted!r}.", remedy=f"Choose one of: {', '.join(TRIPLES)}."
    )


def machine_for(triple: str | None = None, cpu: str | None = None) -> Machine:
    """The machine of a triple and a processor name; `cpu="native"` is the processor of this machine.

    Raises:
        RecipeError: an unknown triple, a processor that LLVM does not know for it, or `native` for a foreign triple.
    """
    from tvm.target import codegen

    triple = canonical_triple(triple)
    _, llvm, usual, _ = TRIPLES[triple]
    if cpu == "native":
        if triple != canonical_triple(None):
            raise RecipeError(
                f"cpu = native means this machine's processor, which is not of the triple {triple}.",
                remedy="Name the device's processor in LLVM's words, such as cortex-a72.",
            )
        cpu = str(codegen.llvm_get_system_cpu())
    cpu = cpu or usual
    known = {str(name) for name in codegen.llvm_get_cpu_archlist(_bare_target(llvm))}
    if cpu not in known:
        raise RecipeError(
            f"LLVM knows no processor {cpu!r} for {triple}.",
            remedy=f"Choose one of: {', '.join(sorted(known))}.",
        )
    if not triple.startswith("x86_64"):
        return Machine(triple, cpu, lanes=4, registers=32 if triple.startswith("aarch64") else 16)
    has = {str(name) for name in codegen.llvm_get_cpu_features(_bare_target(llvm, cpu))}
    if "avx512f" in has:
        return Machine(triple, cpu, lanes=16, registers=32)
    if "avx" in has:
        return Machine(triple, cpu, lanes=8, registers=16)
    return Machine(triple, cpu, lanes=4, registers=16)


def _bare_target(llvm: str, cpu: str = "") -> Any:
    import tvm

    return tvm.target.Target({"kind": "llvm", "mtriple": llvm, **({"mcpu": cpu} if cpu else {})})
