/** Proves a bundle where it runs: golden inputs through the model, its answers against those of the host. */
import { type Model, type ModelSpec } from "./litert.js";
import { type Values } from "./tensors.js";
/** How close one output came: null where all answers are equal to the bit. */
export interface OutputReport {
    readonly output: string;
    readonly snrDb: number | null;
    readonly passed: boolean;
}
export interface GoldenReport {
    readonly samples: number;
    readonly minSnrDb: number;
    readonly outputs: readonly OutputReport[];
    readonly passed: boolean;
}
type Named = Record<string, Values>;
/** All golden samples of a bundle, as `run` takes them, and what the host answered. `base`: the bundle's folder. */
export declare function goldenSamples(spec: ModelSpec, base: string | URL): Promise<{
    inputs: Named[];
    answers: Named[];
}>;
/** Runs every golden sample and compares, by the SNR over all elements of all samples. */
export declare function checkGolden(model: Model<unknown, unknown>, base: string | URL): Promise<GoldenReport>;
/** Milliseconds of each of `count` runs, after `warmUp` that do not count; quantization and copies are part of it. */
export declare function timeRuns(model: Model<unknown, unknown>, base: string | URL, count?: number, warmUp?: number): Promise<number[]>;
export {};
