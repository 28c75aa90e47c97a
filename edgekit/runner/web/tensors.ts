/** Tensors of a model: their types, stored and real values, and the error that all of a bundle throws. */

export type Values = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array | BigInt64Array;

/** One tensor: the manifest's words, and how the payload calls it. */
export interface TensorSpec {
    readonly name: string;
    readonly binding: string;
    readonly shape: readonly number[];
    readonly dtype: "float32" | "float64" | "int8" | "uint8" | "int16" | "int32" | "int64" | "bool";
    /** `real = scale × (stored - zeroPoint)`; null where values are stored as they are. */
    readonly quantization: { readonly scale: number; readonly zeroPoint: number } | null;
}

export type Problem = "runtime" | "version" | "unreachable" | "damaged" | "mismatch" | "input" | "closed";

/** Everything that this module throws on purpose: what happened, where, and what to do. */
export class ModelError extends Error {
    constructor(readonly problem: Problem, what: string, remedy: string) {
        super(`${what} ${remedy}`);
        this.name = "ModelError";
    }
}

/** @internal */
export const ARRAYS = {
    float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
    int32: Int32Array, int64: BigInt64Array, bool: Uint8Array,
};
const LIMITS: Record<string, readonly [number, number]> = {
    int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], int32: [-2147483648, 2147483647],
};

/** What the payload takes: checked, and quantized where it is. @internal */
export function toStored(tensor: TensorSpec, values: Values | undefined): Values {
    const size = tensor.shape.reduce((product, axis) => product * axis, 1);
    const takes = tensor.quantization === null ? ARRAYS[tensor.dtype] : Float32Array;
    if (!(values instanceof takes) || values.length !== size) {
        const got = values === undefined ? "nothing" : `${values.constructor?.name} of ${values.length}`;
        throw new ModelError("input", `Input ${tensor.name} got ${got}.`,
            `Give a ${takes.name} of ${size} elements, in the order of [${tensor.shape.join(", ")}].`);
    }
    if (tensor.quantization === null) {
        return values;
    }
    const { zeroPoint } = tensor.quantization;
    const scale = Math.fround(tensor.quantization.scale);
    const [least, most] = LIMITS[tensor.dtype];
    const stored = new ARRAYS[tensor.dtype](size) as Int8Array;
    for (let i = 0; i < size; i++) {
        const ratio = Math.fround(Number(values[i]) / scale);
        if (Number.isNaN(ratio)) {
            throw new ModelError("input", `Input ${tensor.name} is not a number at ${i}.`, "Give finite values.");
        }
        stored[i] = Math.min(most, Math.max(least, halfToEven(ratio) + zeroPoint));
    }
    return stored;
}

/** As the proof on the host rounds (NumPy's rint), so that both store the same integers. */
function halfToEven(value: number): number {
    const rounded = Math.round(value);
    return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Real values of what the payload stores. @internal */
export function toReal(tensor: TensorSpec, stored: Values): Values {
    if (tensor.quantization === null) {
        return stored;
    }
    const { zeroPoint } = tensor.quantization;
    const scale = Math.fround(tensor.quantization.scale);
    return Float32Array.from(stored as Int8Array, (value) => (value - zeroPoint) * scale);
}

/** @internal */
export function text(error: unknown): string {
    return error instanceof Error ? error.message : error instanceof Event ? `a script's ${error.type}` : String(error);
}
