/** An artifact as the runner runs it: inputs set once, invoked many times, outputs read when they are wanted. */
import { getGlobalLiteRtPromise, loadLiteRt, type LiteRt } from "@litertjs/core";

import { asTaken, readNpy } from "./golden.js";
import { type Buffer, Payload } from "./litert.js";
import { ModelError, type TensorSpec, text, toReal, toStored, type Values } from "./tensors.js";

/** What the runner reads of an artifact's manifest.json (docs/formats/artifact.md). */
export interface Manifest {
    readonly model: string;
    readonly payload: string;
    readonly inputs: readonly ManifestTensor[];
    readonly outputs: readonly ManifestTensor[];
    readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
}

interface ManifestTensor {
    readonly name: string;
    readonly shape: readonly number[];
    readonly dtype: TensorSpec["dtype"];
    readonly quantization?: { readonly scale: readonly number[]; readonly zero_point?: readonly number[] | null } | null;
}

/** An artifact that lies below `folder` of this page's server. */
export class Artifact {
    readonly inputs: readonly TensorSpec[];
    readonly outputs: readonly TensorSpec[];

    private constructor(
        readonly folder: string, readonly manifest: Manifest, bindings: { inputs: string[]; outputs: string[] },
    ) {
        this.inputs = manifest.inputs.map((tensor, i) => specOf(tensor, bindings.inputs[i]));
        this.outputs = manifest.outputs.map((tensor, i) => specOf(tensor, bindings.outputs[i]));
    }

    static async open(folder: string, bindings: { inputs: string[]; outputs: string[] }): Promise<Artifact> {
        const manifest = JSON.parse(new TextDecoder().decode(await fetched(`${folder}/manifest.json`))) as Manifest;
        return new Artifact(folder, manifest, bindings);
    }

    /** The payload, by the sha256 of the manifest where this page may compute one: only secure pages may. */
    async payload(): Promise<Uint8Array> {
        const { payload, files } = this.manifest;
        const bytes = await fetched(`${this.folder}/${payload}`);
        const entry = files.find(({ path }) => path === payload);
        const digest = crypto.subtle === undefined ? null : new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        const sha256 = digest && Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
        if (bytes.byteLength !== entry?.bytes || (sha256 ?? entry.sha256) !== entry.sha256) {
            throw new ModelError("damaged", `${payload} is not the payload of ${this.manifest.model} any more.`,
                "Run `edgekit verify` on the artifact.");
        }
        return new Uint8Array(bytes);
    }

    /** The samples in `.npy` files of `(n, ...shape)`, one file an input or an output: `[sample][tensor]`. */
    async samples(folder: string, files: readonly string[], tensors: readonly TensorSpec[]): Promise<Values[][]> {
        const samples: Values[][] = [];
        for (const [j, file] of files.entries()) {
            const where = `${folder}/${file}`;
            const all = asTaken(tensors[j], readNpy(await fetched(where), where));
            const size = tensors[j].shape.reduce((product, axis) => product * axis, 1);
            for (let k = 0; k * size < all.length; k++) {
                (samples[k] ??= [])[j] = all.slice(k * size, (k + 1) * size);
            }
        }
        return samples;
    }
}

/** LiteRT.js, whose wasm is fetched, compiled and started once a page. */
export async function runtime(threads: number): Promise<LiteRt> {
    if (threads > 1 && !crossOriginIsolated) {
        throw new Error(`${threads} threads need a page that is cross-origin isolated, and this one is not`);
    }
    try {
        const folder = new URL("npm/@litertjs/core/wasm/", document.baseURI).href;
        return await (getGlobalLiteRtPromise() ?? loadLiteRt(folder, { threads: threads > 1 }));
    } catch (error) {
        throw new Error(`LiteRT.js does not start: ${text(error)}`);
    }
}

/** A payload that is ready to run. Samples are in the manifest's order. */
export interface Runs {
    setSample(sample: readonly Values[]): Promise<void> | void;
    invoke(): Promise<void>;
    /** All outputs of the last invoke, as the payload stores them. */
    getStored(): Promise<Values[]> | Values[];
    /** The same, dequantized. */
    getSample(): Promise<Values[]> | Values[];
}

/** A payload on the CPU (wasm, XNNPACK), with its input buffers. */
export class Session implements Runs {
    private results: Buffer[] = [];

    private constructor(
        private readonly artifact: Artifact, private readonly payload: Payload, private readonly given: Buffer[],
    ) {}

    static async load(artifact: Artifact, bytes: Uint8Array, liteRt: LiteRt, threads: number): Promise<Session> {
        const { model } = artifact.manifest;
        const payload = await Payload.compile({ model, inputs: artifact.inputs, outputs: artifact.outputs }, liteRt, bytes,
            threads);
        return new Session(artifact, payload, payload.inputs.map((tensor, i) => payload.newInput(i, bytesOf(tensor))));
    }

    setSample(sample: readonly Values[]): void {
        this.payload.inputs.forEach((tensor, i) => {
            this.payload.write(this.given[i], toStored(tensor, sample[this.artifact.inputs.indexOf(tensor)]));
        });
    }

    /** Runs the payload once. It makes new buffers for its outputs each time, so giving back the last ones belongs to it. */
    async invoke(): Promise<void> {
        const results = await this.payload.run(this.given);
        for (const buffer of this.results) {
            buffer.delete();
        }
        this.results = results;
    }

    getStored(): Values[] {
        return this.artifact.outputs.map((tensor) => {
            return this.payload.read(this.results[this.payload.outputs.indexOf(tensor)], tensor);
        });
    }

    getSample(): Values[] {
        return this.getStored().map((values, i) => toReal(this.artifact.outputs[i], values));
    }
}

function specOf({ name, shape, dtype, quantization }: ManifestTensor, binding: string): TensorSpec {
    const scale = quantization && { scale: quantization.scale[0], zeroPoint: quantization.zero_point?.[0] ?? 0 };
    return { name, binding, shape, dtype, quantization: scale ?? null };
}

const BYTES: Record<TensorSpec["dtype"], number> = {
    float32: 4, float64: 8, int8: 1, uint8: 1, int16: 2, int32: 4, int64: 8, bool: 1,
};

function bytesOf({ shape, dtype }: TensorSpec): number {
    return shape.reduce((product, axis) => product * axis, BYTES[dtype]);
}

async function fetched(where: string): Promise<ArrayBuffer> {
    const response = await fetch(where);
    if (!response.ok) {
        throw new Error(`${where} cannot be fetched: HTTP ${response.status}`);
    }
    return response.arrayBuffer();
}
