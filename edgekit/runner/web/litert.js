/**
 * A model of EdgeKit in LiteRT.js: real values in and out by name, checked before use.
 *
 * `load` refuses a runtime of another version and a payload that is not the one that was proven. Tensors cross by the
 * bindings of the wasm module, since LiteRT.js's own `Tensor` knows float32, int32 and uint8 only, and refuses to open
 * a model with int8 inputs. That is why the version is held so narrowly. Kernels run on the CPU (XNNPACK).
 */
import { getGlobalLiteRtPromise, loadLiteRt } from "@litertjs/core";
import { ARRAYS, ModelError, text, toReal, toStored } from "./tensors.js";
export { ModelError } from "./tensors.js";
/** Loads, checks and compiles a model. Several models share one runtime. */
export async function load(spec, beside, options = {}) {
    const runtime = runtimeFolder(spec, options.runtime);
    await checkVersion(spec, runtime);
    const payload = await fetchPayload(spec, new URL(options.payload ?? beside, document.baseURI));
    let liteRt;
    try {
        liteRt = await (getGlobalLiteRtPromise() ?? loadLiteRt(new URL("wasm/", runtime).href));
    }
    catch (error) {
        throw new ModelError("runtime", `${spec.runtime.name} at ${runtime.href} does not start: ${text(error)}.`, "Serve the package's wasm folder whole, .wasm files as application/wasm.");
    }
    return Model.compile(spec, liteRt, payload);
}
function runtimeFolder(spec, given) {
    try {
        if (given === undefined) {
            return new URL("../", import.meta.resolve(spec.runtime.name));
        }
        return new URL(`${given}`.replace(/\/*$/, "/"), document.baseURI);
    }
    catch (error) {
        throw new ModelError("runtime", `Where ${spec.runtime.name} is served is not known: ${text(error)}.`, "Give its folder as `runtime`, or an import map.");
    }
}
async function checkVersion(spec, runtime) {
    const { name, version } = spec.runtime;
    const where = new URL("package.json", runtime);
    let found;
    try {
        found = JSON.parse(new TextDecoder().decode(await fetchBytes(where)));
    }
    catch (error) {
        if (error instanceof ModelError) {
            throw error;
        }
        throw new ModelError("runtime", `${where.href} is no package.json: ${text(error)}.`, `Serve the folder of ${name} as npm installs it.`);
    }
    const has = `${found.version}`.match(/^(\d+)\.(\d+)\.(\d+)$/)?.slice(1).map(Number);
    const wants = version.split(".").map(Number);
    if (found.name !== name || !has || has[0] !== wants[0] || has[1] !== wants[1] || has[2] < wants[2]) {
        throw new ModelError("version", `${runtime.href} serves ${found.name} ${found.version}, but ${spec.model} was ` +
            `bundled for ${name} ~${version}.`, `Install ${name}@~${version}, or bundle the artifact again.`);
    }
}
async function fetchPayload(spec, where) {
    if (globalThis.crypto?.subtle === undefined) {
        throw new ModelError("runtime", `${where.href} cannot be checked: this page has no crypto.subtle.`, "Serve the page by HTTPS, or from localhost.");
    }
    const bytes = await fetchBytes(where);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (bytes.byteLength !== spec.payload.bytes || sha256 !== spec.payload.sha256) {
        throw new ModelError("damaged", `${where.href} is not the payload of ${spec.model}: it has ${bytes.byteLength} ` +
            `bytes with the sha256 ${sha256}, not ${spec.payload.bytes} with ${spec.payload.sha256}.`, "Copy it again from the bundle, and empty caches between.");
    }
    return bytes;
}
async function fetchBytes(where) {
    let why;
    try {
        const response = await fetch(where);
        if (response.ok) {
            return new Uint8Array(await response.arrayBuffer());
        }
        why = `HTTP ${response.status}`;
    }
    catch (error) {
        why = text(error);
    }
    throw new ModelError("unreachable", `${where.href} cannot be fetched: ${why}.`, "See that the server has it.");
}
/** A payload, compiled, and buffers for its tensors, which are in the payload's own order. @internal */
export class Payload {
    liteRt;
    address;
    loaded;
    compiled;
    inputs;
    outputs;
    constructor(liteRt, address, loaded, compiled, inputs, outputs) {
        this.liteRt = liteRt;
        this.address = address;
        this.loaded = loaded;
        this.compiled = compiled;
        this.inputs = inputs;
        this.outputs = outputs;
    }
    static async compile(what, liteRt, payload, threads) {
        const wasm = liteRt.liteRtWasm;
        const environment = liteRt.getDefaultEnvironment();
        const address = wasm._malloc(payload.byteLength);
        wasm.HEAPU8.set(payload, address);
        try {
            const loaded = wasm.loadModel(environment.liteRtEnvironment, address, payload.byteLength);
            const options = {
                environment, accelerator: "wasm", cpuOptions: { numThreads: threads ?? wasm.getThreadCount() },
                gpuOptions: {}, webNNOptions: {},
            };
            const compiled = await wasm.compileModel(environment.liteRtEnvironment, loaded, options);
            const signature = loaded.getSignature(0);
            const inputs = inOrder(what.model, what.inputs, signature.inputNames());
            const outputs = inOrder(what.model, what.outputs, signature.outputNames());
            signature.delete();
            return new Payload(liteRt, address, loaded, compiled, inputs, outputs);
        }
        catch (error) {
            wasm._free(address);
            if (error instanceof ModelError) {
                throw error;
            }
            throw new ModelError("mismatch", `LiteRT.js does not compile ${what.model}: ${text(error)}.`, "Convert it with operators that this runtime has.");
        }
    }
    /** A buffer for input `i`. It is the caller's to delete. */
    newInput(i, bytes) {
        const wasm = this.liteRt.liteRtWasm;
        const type = this.loaded.getInputTensorType(0, i);
        const environment = this.liteRt.getDefaultEnvironment().liteRtEnvironment;
        const buffer = wasm.LiteRtTensorBuffer.createManaged(environment, wasm.LiteRtTensorBufferType.HOST_MEMORY, type, bytes);
        type.delete();
        return buffer;
    }
    /** Writes what the payload takes: stored values, as `toStored` gives them. */
    write(buffer, values) {
        const wasm = this.liteRt.liteRtWasm;
        const address = buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
        wasm.HEAPU8.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), address);
        buffer.unlock();
    }
    /** What the payload stores in a tensor; `toReal` makes real values of it. */
    read(buffer, tensor) {
        const wasm = this.liteRt.liteRtWasm;
        const address = buffer.lock(wasm.LiteRtTensorBufferLockMode.READ);
        const bytes = wasm.HEAPU8.slice(address, address + buffer.packedSize());
        buffer.unlock();
        return new ARRAYS[tensor.dtype](bytes.buffer);
    }
    /** Runs it once. The outputs' buffers are the caller's to delete. */
    run(inputs) {
        return this.compiled.run(0, inputs);
    }
    /** Gives the memory back. */
    delete() {
        this.compiled.delete();
        this.loaded.delete();
        this.liteRt.liteRtWasm._free(this.address);
    }
}
/** A compiled model. `close` it when it is no longer needed: its memory is the wasm module's. */
export class Model {
    spec;
    payload;
    closed = false;
    constructor(spec, payload) {
        this.spec = spec;
        this.payload = payload;
    }
    /** @internal */
    static async compile(spec, liteRt, payload) {
        return new Model(spec, await Payload.compile(spec, liteRt, payload));
    }
    /** Runs the model once: real values in, real values out, each flat and in the order of its tensor's shape. */
    async run(inputs) {
        if (this.closed) {
            throw new ModelError("closed", `${this.spec.model} was closed.`, "Load it again.");
        }
        const { payload } = this;
        const given = inputs;
        const stored = payload.inputs.map((tensor) => toStored(tensor, given[tensor.name]));
        const buffers = [];
        try {
            stored.forEach((values, i) => {
                buffers.push(payload.newInput(i, values.byteLength));
                payload.write(buffers[i], values);
            });
            const answers = await payload.run(buffers.slice());
            buffers.push(...answers);
            const outputs = {};
            payload.outputs.forEach((tensor, i) => {
                outputs[tensor.name] = toReal(tensor, payload.read(answers[i], tensor));
            });
            return outputs;
        }
        finally {
            buffers.forEach((buffer) => buffer.delete());
        }
    }
    /** Gives the memory back. */
    close() {
        if (!this.closed) {
            this.closed = true;
            this.payload.delete();
        }
    }
}
function inOrder(model, tensors, names) {
    const found = Array.from({ length: names.size() }, (_, i) => names.get(i));
    names.delete();
    const ordered = found.map((name) => tensors.find((tensor) => tensor.binding === name));
    if (ordered.length !== tensors.length || !ordered.every((tensor) => tensor !== undefined)) {
        throw new ModelError("mismatch", `The payload of ${model} names its tensors ${found.join(", ")}, the manifest ` +
            `${tensors.map((tensor) => tensor.binding).join(", ")}.`, "Bundle the artifact again.");
    }
    return ordered;
}
