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
/** What is generated from an artifact's manifest. */
export interface ModelSpec {
    readonly model: string;
    readonly artifact: string;
    readonly payload: {
        readonly bytes: number;
        readonly sha256: string;
    };
    readonly runtime: {
        readonly name: string;
        readonly version: string;
    };
    readonly inputs: readonly TensorSpec[];
    readonly outputs: readonly TensorSpec[];
    /** Inputs and answers that travel along, as .npy files of `(samples, ...shape)` in the tensors' order. */
    readonly golden: {
        readonly inputs: readonly string[];
        readonly outputs: readonly string[];
        readonly minSnrDb: number;
    };
}
export interface LoadOptions {
    /** Where the folder of @litertjs/core is served (package.json, wasm/); needed where a bundler moved its module. */
    runtime?: string | URL;
    /** Where the payload is served; beside the generated module if not given. */
    payload?: string | URL;
}
export type Problem = "runtime" | "version" | "unreachable" | "damaged" | "mismatch" | "input" | "closed";
/** Everything that this module throws on purpose: what happened, where, and what to do. */
export declare class ModelError extends Error {
    readonly problem: Problem;
    constructor(problem: Problem, what: string, remedy: string);
}
/** Loads, checks and compiles a model. Several models share one runtime. */
export declare function load<Inputs, Outputs>(spec: ModelSpec, beside: URL, options?: LoadOptions): Promise<Model<Inputs, Outputs>>;
/** A compiled model. `close` it when it is no longer needed: its memory is the wasm module's. */
export declare class Model<Inputs, Outputs> {
    readonly spec: ModelSpec;
    private readonly payload;
    private closed;
    private constructor();
    /** Runs the model once: real values in, real values out, each flat and in the order of its tensor's shape. */
    run(inputs: Inputs): Promise<Outputs>;
    /** Gives the memory back. */
    close(): void;
}
