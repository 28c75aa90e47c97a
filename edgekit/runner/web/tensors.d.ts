/** Tensors of a model: their types, stored and real values, and the error that all of a bundle throws. */
export type Values = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array | BigInt64Array;
/** One tensor: the manifest's words, and how the payload calls it. */
export interface TensorSpec {
    readonly name: string;
    readonly binding: string;
    readonly shape: readonly number[];
    readonly dtype: "float32" | "float64" | "int8" | "uint8" | "int16" | "int32" | "int64" | "bool";
    /** `real = scale × (stored - zeroPoint)`; null where values are stored as they are. */
    readonly quantization: {
        readonly scale: number;
        readonly zeroPoint: number;
    } | null;
}
export type Problem = "runtime" | "version" | "unreachable" | "damaged" | "mismatch" | "input" | "closed";
/** Everything that this module throws on purpose: what happened, where, and what to do. */
export declare class ModelError extends Error {
    readonly problem: Problem;
    constructor(problem: Problem, what: string, remedy: string);
}
