/** A payload on the GPU by WebGPU, with LiteRT.js's own tensors: float32, int32 and uint8. */
import { Tensor } from "@litertjs/core";
import { text, toReal, toStored } from "./tensors.js";
const DTYPES = ["float32", "int32", "uint8"];
/** Inputs stay in the GPU's memory from sample to sample. An invoke ends when the GPU has done its work. */
export class GpuSession {
    artifact;
    compiled;
    device;
    given = [];
    results = [];
    constructor(artifact, compiled, device) {
        this.artifact = artifact;
        this.compiled = compiled;
        this.device = device;
    }
    /** Compiles all of it for the GPU, in 32 bits; what would run in part elsewhere is refused. */
    static async load(artifact, bytes, liteRt) {
        const device = liteRt.getWebGpuDevice();
        if (device === null) {
            throw new Error("WebGPU was asked for, and the browser has no adapter");
        }
        const strange = [...artifact.inputs, ...artifact.outputs].find(({ dtype }) => !DTYPES.includes(dtype));
        if (strange !== undefined) {
            throw new Error(`WebGPU takes ${DTYPES.join(", ")}, and ${strange.name} is ${strange.dtype}`);
        }
        let compiled;
        try {
            compiled = await liteRt.loadAndCompile(bytes, { accelerator: "webgpu", gpuOptions: { precision: "fp32" } });
        }
        catch (error) {
            throw new Error(`LiteRT.js does not compile ${artifact.manifest.model} for WebGPU: ${text(error)}`);
        }
        if (compiled.options.accelerator !== "webgpu" || !compiled.isFullyAccelerated) {
            throw new Error(`WebGPU does not execute all operators of ${artifact.manifest.model}`);
        }
        return new GpuSession(artifact, compiled, device);
    }
    async setSample(sample) {
        this.given.forEach((tensor) => tensor.delete());
        this.given = await Promise.all(this.compiled.getInputDetails().map(({ name, shape }) => {
            const i = this.artifact.inputs.findIndex(({ binding }) => binding === name);
            const stored = toStored(this.artifact.inputs[i], sample[i]);
            return new Tensor(stored, Array.from(shape)).moveTo("webgpu");
        }));
    }
    async invoke() {
        const results = await this.compiled.run(this.given);
        await this.device.queue.onSubmittedWorkDone();
        this.results.forEach((tensor) => tensor.delete());
        this.results = results;
    }
    async getStored() {
        const names = this.compiled.getOutputDetails().map(({ name }) => name);
        return Promise.all(this.artifact.outputs.map(({ binding }) => this.results[names.indexOf(binding)].data()));
    }
    async getSample() {
        return (await this.getStored()).map((values, i) => toReal(this.artifact.outputs[i], values));
    }
}
