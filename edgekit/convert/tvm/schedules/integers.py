"""One step of an integer contraction on x86: a vector of int32 sums, each of which gains two products.

The instruction is vpmaddwd (of AVX2 and AVX-512), which multiplies 16-bit integers and adds neighbours; with the
addition that follows, LLVM makes it vpdpwssd where there is VNNI. Nothing saturates: activations have 9 bits with their
sign, weights 8. (vpmaddubsw and vpdpbusd take bytes, twice as many, but the first saturates.)

TVMScript annotates arguments with buffers, which mypy does not take for types.
"""

from __future__ import annotations

_INSTRUCTIONS = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def pairs_of(lanes: int) -> str:
    """The name of TVM's tensor intrinsic for so many sums, registered at its first use."""
    from tvm.s_tir import TensorIntrin
    from tvm.script import tirx as T  # noqa: N812 - as TVMScript is written

    instruction = _INSTRUCTIONS[lanes]
    bytes_, words, sums = f"int8x{2 * lanes}", f"int16x{2 * lanes}", f"int32x{lanes}"

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]  # TVMScript: read, never called
    def described(
        a: T.Buffer((2,), "int16", offset_factor=1),  # type: ignore[valid-type]  # TVMScript
        b: T.Buffer((lanes, 2), "int8", offset_factor=1),  # type: ignore[valid-type]  # TVMScript
        c: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),  # type: ignore[valid-type]  # TVMScript
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:lanes], a[0:2], b[0:lanes, 0:2])
            T.writes(c[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, 2):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        c[vi] = c[vi] + T.cast(a[vk], "int32") * T.cast(b[vi, vk], "int32")

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]  # TVMScript: read, never called
    def written(
        a: T.Buffer((2,), "int16", offset_factor=1),  # type: ignore[valid-type]  # TVMScript
        b: T.Buffer((lanes, 2), "int8", offset_factor=1),  # type: ignore[valid-type]  # TVMScript
        c: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),  # type: ignore[valid-type]  # TVMScript
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:lanes], a[0:2], b[0:lanes, 0:2])
            T.writes(c[0:lanes])
            c[T.ramp(T.int32(0), 1, lanes)] = c.vload([0], dtype=sums) + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                T.reinterpret(T.broadcast(T.reinterpret(a.vload([0], "int16x2"), dtype="int32"), lanes), dtype=words),
                T.cast(b.vload([0, 0], dtype=bytes_), words),
                dtype=sums,
            )

    name = f"edgekit.pairs.{lanes}"
    TensorIntrin.register(name, described, written, override=True)
    return name
