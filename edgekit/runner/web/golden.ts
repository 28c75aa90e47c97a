/** Proves a bundle where it runs: golden inputs through the model, its answers against those of the host. */
import { type Model, type ModelSpec } from "./litert.js";
import { ARRAYS, ModelError, type TensorSpec, type Values } from "./tensors.js";

/** How close one output came: null where all answers are equal to the bit. */
export interface OutputReport { readonly output: string; readonly snrDb: number | null; readonly passed: boolean }

export interface GoldenReport {
    readonly samples: number;
    readonly minSnrDb: number;
    readonly outputs: readonly OutputReport[];
    readonly passed: boolean;
}

type Named = Record<string, Values>;

/** All golden samples of a bundle, as `run` takes them, and what the host answered. `base`: the bundle's folder. */
export async function goldenSamples(spec: ModelSpec, base: string | URL): Promise<{ inputs: Named[]; answers: Named[] }> {
    return {
        inputs: await samplesOf(spec.inputs, spec.golden.inputs, base),
        answers: await samplesOf(spec.outputs, spec.golden.outputs, base),
    };
}

/** Runs every golden sample and compares, by the SNR over all elements of all samples. */
export async function checkGolden(model: Model<unknown, unknown>, base: string | URL): Promise<GoldenReport> {
    const { spec } = model;
    const { inputs, answers } = await goldenSamples(spec, base);
    const given: Named[] = [];
    for (const sample of inputs) {
        given.push(await model.run(sample) as Named);
    }
    const { minSnrDb } = spec.golden;
    const outputs = spec.outputs.map(({ name }): OutputReport => {
        let signal = 0;
        let noise = 0;
        answers.forEach((answer, k) => answer[name].forEach((value: number | bigint, i: number) => {
            signal += Number(value) ** 2;
            noise += (Number(value) - Number(given[k][name][i])) ** 2;
        }));
        const snrDb = noise === 0 ? null : 10 * Math.log10(signal / noise);
        return { output: name, snrDb, passed: snrDb === null || snrDb >= minSnrDb };
    });
    return { samples: inputs.length, minSnrDb, outputs, passed: outputs.every((output) => output.passed) };
}

/** Milliseconds of each of `count` runs, after `warmUp` that do not count; quantization and copies are part of it. */
export async function timeRuns(
    model: Model<unknown, unknown>, base: string | URL, count = 100, warmUp = 10,
): Promise<number[]> {
    const { inputs } = await goldenSamples(model.spec, base);
    const times: number[] = [];
    for (let k = 0; k < warmUp + count; k++) {
        const begun = performance.now();
        await model.run(inputs[k % inputs.length]);
        times.push(performance.now() - begun);
    }
    return times.slice(warmUp);
}

async function samplesOf(tensors: readonly TensorSpec[], files: readonly string[], base: string | URL): Promise<Named[]> {
    const samples: Named[] = [];
    for (const [j, file] of files.entries()) {
        const tensor = tensors[j];
        const where = new URL(file, new URL(base, document.baseURI));
        const response = await fetch(where);
        if (!response.ok) {
            throw new ModelError("unreachable", `${where.href} cannot be fetched: HTTP ${response.status}.`,
                "Serve the bundle's folder golden beside the payload.");
        }
        const all = asTaken(tensor, readNpy(await response.arrayBuffer(), where.href));
        const size = tensor.shape.reduce((product, axis) => product * axis, 1);
        for (let k = 0; k * size < all.length; k++) {
            (samples[k] ??= {})[tensor.name] = all.slice(k * size, (k + 1) * size);
        }
    }
    return samples;
}

/** The host keeps golden data in the source model's dtype, which may be wider than the payload's. @internal */
export function asTaken(tensor: TensorSpec, values: Values): Values {
    const takes = tensor.quantization === null ? ARRAYS[tensor.dtype] : Float32Array;
    if (values instanceof takes) {
        return values;
    }
    if (takes === BigInt64Array) {
        return BigInt64Array.from(values as Int32Array, (value) => BigInt(value));
    }
    return new (takes as Int32ArrayConstructor)(Array.from(values as Int32Array, Number));
}

const DESCRIPTIONS: Record<string, keyof typeof ARRAYS> = {
    "<f4": "float32", "<f8": "float64", "|i1": "int8", "|u1": "uint8", "<i2": "int16", "<i4": "int32", "<i8": "int64",
    "|b1": "bool",
};

/** NumPy's format 1 to 3: magic, version, the header's length, a Python literal, then the elements in C order. @internal */
export function readNpy(file: ArrayBuffer, where: string): Values {
    const view = new DataView(file);
    const start = view.getUint8(6) === 1 ? 10 : 12;
    const end = start + (start === 10 ? view.getUint16(8, true) : view.getUint32(8, true));
    const header = new TextDecoder().decode(file.slice(start, end));
    const dtype = DESCRIPTIONS[header.match(/'descr': '([^']+)'/)?.[1] ?? ""];
    if (dtype === undefined || !header.includes("'fortran_order': False")) {
        throw new ModelError("damaged", `${where} is no array that can be read here: ${header}.`, "Bundle the artifact again.");
    }
    return new ARRAYS[dtype](file.slice(end));
}
