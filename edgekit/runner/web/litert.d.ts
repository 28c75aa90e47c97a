import { type TensorSpec } from "./tensors.js";
export { ModelError, type Problem, type TensorSpec, type Values } from "./tensors.js";
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
