/** Tensors of a model: their types, stored and real values, and the error that all of a bundle throws. */
/** Everything that this module throws on purpose: what happened, where, and what to do. */
export class ModelError extends Error {
    problem;
    constructor(problem, what, remedy) {
        super(`${what} ${remedy}`);
        this.problem = problem;
        this.name = "ModelError";
    }
}
/** @internal */
export const ARRAYS = {
    float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
    int32: Int32Array, int64: BigInt64Array, bool: Uint8Array,
};
const LIMITS = {
    int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], int32: [-2147483648, 2147483647],
};
/** What the payload takes: checked, and quantized where it is. @internal */
export function toStored(tensor, values) {
    const size = tensor.shape.reduce((product, axis) => product * axis, 1);
    const takes = tensor.quantization === null ? ARRAYS[tensor.dtype] : Float32Array;
    if (!(values instanceof takes) || values.length !== size) {
        const got = values === undefined ? "nothing" : `${values.constructor?.name} of ${values.length}`;
        throw new ModelError("input", `Input ${tensor.name} got ${got}.`, `Give a ${takes.name} of ${size} elements, in the order of [${tensor.shape.join(", ")}].`);
    }
    if (tensor.quantization === null) {
        return values;
    }
    const { zeroPoint } = tensor.quantization;
    const scale = Math.fround(tensor.quantization.scale);
    const [least, most] = LIMITS[tensor.dtype];
    const stored = new ARRAYS[tensor.dtype](size);
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
function halfToEven(value) {
    const rounded = Math.round(value);
    return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
/** Real values of what the payload stores. @internal */
export function toReal(tensor, stored) {
    if (tensor.quantization === null) {
        return stored;
    }
    const { zeroPoint } = tensor.quantization;
    const scale = Math.fround(tensor.quantization.scale);
    return Float32Array.from(stored, (value) => (value - zeroPoint) * scale);
}
/** @internal */
export function text(error) {
    return error instanceof Error ? error.message : error instanceof Event ? `a script's ${error.type}` : String(error);
}
