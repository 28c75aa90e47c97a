/** An artifact as the runner runs it: inputs set once, invoked many times, outputs read when they are wanted. */
import { getGlobalLiteRtPromise, loadLiteRt } from "@litertjs/core";
import { asTaken, readNpy } from "./golden.js";
import { Payload } from "./litert.js";
import { ModelError, text, toReal, toStored } from "./tensors.js";
/** An artifact that lies below `folder` of this page's server. */
export class Artifact {
    folder;
    manifest;
    inputs;
    outputs;
    constructor(folder, manifest, bindings) {
        this.folder = folder;
        this.manifest = manifest;
        this.inputs = manifest.inputs.map((tensor, i) => specOf(tensor, bindings.inputs[i]));
        this.outputs = manifest.outputs.map((tensor, i) => specOf(tensor, bindings.outputs[i]));
    }
    static async open(folder, bindings) {
        const manifest = JSON.parse(new TextDecoder().decode(await fetched(`${folder}/manifest.json`)));
        return new Artifact(folder, manifest, bindings);
    }
    /** The payload, by the sha256 of the manifest where this page may compute one: only secure pages may. */
    async payload() {
        const { payload, files } = this.manifest;
        const bytes = await fetched(`${this.folder}/${payload}`);
        const entry = files.find(({ path }) => path === payload);
        const digest = crypto.subtle === undefined ? null : new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        const sha256 = digest && Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
        if (bytes.byteLength !== entry?.bytes || (sha256 ?? entry.sha256) !== entry.sha256) {
            throw new ModelError("damaged", `${payload} is not the payload of ${this.manifest.model} any more.`, "Run `edgekit verify` on the artifact.");
        }
        return new Uint8Array(bytes);
    }
    /** The samples in `.npy` files of `(n, ...shape)`, one file an input or an output: `[sample][tensor]`. */
    async samples(folder, files, tensors) {
        const samples = [];
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
export async function runtime(threads) {
    if (threads > 1 && !crossOriginIsolated) {
        throw new Error(`${threads} threads need a page that is cross-origin isolated, and this one is not`);
    }
    try {
        const folder = new URL("npm/@litertjs/core/wasm/", document.baseURI).href;
        return await (getGlobalLiteRtPromise() ?? loadLiteRt(folder, { threads: threads > 1 }));
    }
    catch (error) {
        throw new Error(`LiteRT.js does not start: ${text(error)}`);
    }
}
/** A payload on the CPU (wasm, XNNPACK), with its input buffers. */
export class Session {
    artifact;
    payload;
    given;
    results = [];
    constructor(artifact, payload, given) {
        this.artifact = artifact;
        this.payload = payload;
        this.given = given;
    }
    static async load(artifact, bytes, liteRt, threads) {
        const { model } = artifact.manifest;
        const payload = await Payload.compile({ model, inputs: artifact.inputs, outputs: artifact.outputs }, liteRt, bytes, threads);
        return new Session(artifact, payload, payload.inputs.map((tensor, i) => payload.newInput(i, bytesOf(tensor))));
    }
    setSample(sample) {
        this.payload.inputs.forEach((tensor, i) => {
            this.payload.write(this.given[i], toStored(tensor, sample[this.artifact.inputs.indexOf(tensor)]));
        });
    }
    /** Runs the payload once. It makes new buffers for its outputs each time, so giving back the last ones belongs to it. */
    async invoke() {
        const results = await this.payload.run(this.given);
        for (const buffer of this.results) {
            buffer.delete();
        }
        this.results = results;
    }
    getStored() {
        return this.artifact.outputs.map((tensor) => {
            return this.payload.read(this.results[this.payload.outputs.indexOf(tensor)], tensor);
        });
    }
    getSample() {
        return this.getStored().map((values, i) => toReal(this.artifact.outputs[i], values));
    }
}
function specOf({ name, shape, dtype, quantization }, binding) {
    const scale = quantization && { scale: quantization.scale[0], zeroPoint: quantization.zero_point?.[0] ?? 0 };
    return { name, binding, shape, dtype, quantization: scale ?? null };
}
const BYTES = {
    float32: 4, float64: 8, int8: 1, uint8: 1, int16: 2, int32: 4, int64: 8, bool: 1,
};
function bytesOf({ shape, dtype }) {
    return shape.reduce((product, axis) => product * axis, BYTES[dtype]);
}
async function fetched(where) {
    const response = await fetch(where);
    if (!response.ok) {
        throw new Error(`${where} cannot be fetched: HTTP ${response.status}`);
    }
    return response.arrayBuffer();
}
