/**
 * The runner as a page: takes one request from EdgeKit's server, carries it out, and tells events.
 *
 * Requests and events are those of docs/formats/runner-protocol.md. They come and go over one WebSocket; a fresh page
 * carries out one request.
 */
import { atLeast, compare, type Comparison } from "./compare.js";
import { Events } from "./events.js";
import { type Facts, gather, memory } from "./facts.js";
import { GpuSession } from "./gpu.js";
import { clockResolutionNs, Sampler, timeOnce } from "./measure.js";
import { Artifact, runtime, type Runs, Session } from "./session.js";
import { sustain } from "./sustain.js";
import { text, type TensorSpec, type Values } from "./tensors.js";

const SCHEMA = 3;
const FLUSH_MS = 2000;
const DELEGATES = [undefined, null, "wasm", "webgpu"];
/** The close code by which the server asks a page that somebody opened to begin anew. */
const AGAIN = 4001;

interface Request {
    readonly schema: number;
    readonly do: string;
    readonly machine: Facts | null;
    readonly litert_js: string;
    readonly runtimes: readonly string[];
    readonly artifact: string;
    readonly runtime: string;
    readonly bindings: { inputs: string[]; outputs: string[] };
    readonly golden: { inputs: string[]; outputs: string[]; min_snr_db: number; sizes?: unknown };
    readonly samples: { folder: string; inputs: string[]; first: number; count: number; batch: number };
    readonly threads?: number;
    readonly delegate?: string | null;
    readonly duration_ns: number;
    readonly chunk_ns: number;
    readonly max_warmup_ns: number;
    readonly min_samples: number;
    readonly min_ns: number;
    readonly max_ns: number;
}

/** Ends the run with an `error` event of this kind. */
class Failure extends Error {
    constructor(readonly kind: string, message: string) {
        super(message);
    }
}

type Action = (request: Request, events: Events) => Promise<number>;
const ACTIONS: Record<string, Action> = { answer, bench, check, info, profile, sustain: sustained };

async function carryOut(request: Request, events: Events): Promise<void> {
    try {
        if (request.schema !== SCHEMA || ACTIONS[request.do] === undefined) {
            throw new Failure("protocol", `this runner speaks schema ${SCHEMA}`);
        }
        events.emit("hello", { schema: SCHEMA, pid: null, python: null, runner: "browser" });
        events.emit("done", { status: await ACTIONS[request.do](request, events) });
    } catch (error) {
        events.emit("error", { kind: error instanceof Failure ? error.kind : "failed", message: text(error) });
    }
    events.end();
}

interface Opened {
    readonly artifact: Artifact;
    readonly load: () => Promise<Runs>;
    /** The size of the wasm's memory, which only ever grows. */
    readonly wasmBytes: () => number;
}

async function opened(request: Request, events: Events): Promise<Opened> {
    if (request.golden?.sizes !== undefined) {
        throw new Failure("protocol", "a page runs payloads of fixed sizes only");
    }
    if (!DELEGATES.includes(request.delegate)) {
        throw new Failure("failed", `a page executes with wasm (XNNPACK on the CPU) or webgpu, and not with ${request.delegate}`);
    }
    const threads = request.threads ?? 1;
    const artifact = await Artifact.open(request.artifact, request.bindings);
    const bytes = await artifact.payload();
    const liteRt = await events.during(runtime(threads));
    events.emit("runtime", { ...named(request), threads });
    const onGpu = request.delegate === "webgpu";
    return {
        artifact,
        wasmBytes: () => liteRt.liteRtWasm.HEAPU8.byteLength,
        load: () => (onGpu ? GpuSession.load(artifact, bytes, liteRt) : Session.load(artifact, bytes, liteRt, threads)),
    };
}

function named(request: Request): Record<string, unknown> {
    return { name: "litert", package: "@litertjs/core", version: request.litert_js };
}

async function goldenSamples(artifact: Artifact, files: string[], tensors: readonly TensorSpec[]): Promise<Values[][]> {
    return artifact.samples(artifact.folder, files, tensors);
}

/** Every golden input through the session, against the golden outputs. */
async function checkGolden(session: Runs, artifact: Artifact, request: Request, events: Events): Promise<boolean> {
    const { golden } = request;
    const inputs = await goldenSamples(artifact, golden.inputs, artifact.inputs);
    const expected = await goldenSamples(artifact, golden.outputs, artifact.outputs);
    const found: Values[][] = [];
    for (const sample of inputs) {
        await session.setSample(sample);
        await session.invoke();
        found.push(await session.getSample());
        await events.heartbeat();
    }
    const outputs = artifact.outputs.map(({ shape }, i): Comparison => {
        return compare(expected.map((sample) => sample[i]), found.map((sample) => sample[i]), shape[shape.length - 1] ?? 0);
    });
    const passed = outputs.every((output) => atLeast(output, golden.min_snr_db));
    events.emit("golden", { outputs, min_snr_db: golden.min_snr_db, passed });
    return passed;
}

async function bench(request: Request, events: Events): Promise<number> {
    const resolution = clockResolutionNs();
    events.emit("facts", { when: "before", ...await gather(request.machine, resolution) });
    const { artifact, load, wasmBytes } = await opened(request, events);
    const [sample] = await goldenSamples(artifact, request.golden.inputs, artifact.inputs);
    const before = await events.during(memory(request.threads ?? 1));

    let session!: Runs;
    const init_ns = await timeOnce(async () => { session = await load(); });
    const input_ns = await timeOnce(() => session.setSample(sample));
    const first_ns = await timeOnce(() => session.invoke());
    const output_ns = await timeOnce(async () => { await session.getSample(); });
    events.emit("first", { init_ns, first_ns, input_ns, output_ns });
    events.emit("delegation", {
        asked: request.delegate ?? null, backends: [], operators: null, left: null,
        because: request.delegate === "webgpu"
            ? "LiteRT.js tells that WebGPU executes all operators, in 32 bits, and not how many they are"
            : "LiteRT.js executes on the CPU (wasm), and does not tell which operators XNNPACK takes",
    });
    if (!await checkGolden(session, artifact, request, events)) {
        return 3;
    }
    await session.setSample(sample);
    const sampler = new Sampler(() => session.invoke(), resolution, events);
    const warm = await sampler.warmUp(request.max_warmup_ns);
    events.emit("warmup", { samples_ns: warm.samples, steady: warm.steady });
    const taken = await sampler.take(request.min_samples, request.min_ns, request.max_ns);
    events.emit("samples", {
        samples_ns: taken.samples, stop: taken.stop, median_half_width: taken.width, invokes_per_sample: sampler.invokes,
    });
    const after = await events.during(memory(request.threads ?? 1));
    events.emit("memory", {
        peak_rss_bytes: null, before_load_bytes: null, peak_was_reset: false,
        page_bytes: after.bytes, page_before_load_bytes: before.bytes, wasm_bytes: wasmBytes(), because: after.because,
    });
    events.emit("facts", { when: "after", ...await gather(request.machine, resolution) });
    return 0;
}

async function check(request: Request, events: Events): Promise<number> {
    const { artifact, load } = await opened(request, events);
    return await checkGolden(await load(), artifact, request, events) ? 0 : 3;
}

async function sustained(request: Request, events: Events): Promise<number> {
    const resolution = clockResolutionNs();
    events.emit("facts", { when: "before", ...await gather(request.machine, resolution) });
    const { artifact, load } = await opened(request, events);
    const session = await load();
    if (!await checkGolden(session, artifact, request, events)) {
        return 3;
    }
    const [sample] = await goldenSamples(artifact, request.golden.inputs, artifact.inputs);
    await session.setSample(sample);
    const sampler = new Sampler(() => session.invoke(), resolution, events);
    await sampler.fit();
    await sustain(sampler, request.duration_ns, request.chunk_ns, events);
    events.emit("facts", { when: "after", ...await gather(request.machine, resolution) });
    return 0;
}

/** A range of samples through the payload; its answers leave as it stores them, batch by batch. */
async function answer(request: Request, events: Events): Promise<number> {
    const { artifact, load } = await opened(request, events);
    const session = await load();
    const { folder, inputs, first, count, batch } = request.samples;
    const samples = await artifact.samples(folder, inputs, artifact.inputs);
    if (!(first >= 0 && count > 0 && first + count <= samples.length)) {
        throw new Failure("failed", `there are no samples ${first} to ${first + count}`);
    }
    for (let next = first; next < first + count;) {
        const collected: Values[][] = [];
        const begun = performance.now();
        while (next + collected.length < first + count && collected.length < batch) {
            await session.setSample(samples[next + collected.length]);
            await session.invoke();
            collected.push(await session.getStored());
            await events.heartbeat();
            if (performance.now() - begun > FLUSH_MS) {
                break;
            }
        }
        const outputs = artifact.outputs.map((tensor, i) => told(tensor, collected.map((sample) => sample[i])));
        events.emit("answers", { first: next, count: collected.length, outputs });
        next += collected.length;
    }
    return 0;
}

function told({ dtype, shape, quantization }: TensorSpec, values: readonly Values[]): Record<string, unknown> {
    const bytes = values.map((one) => new Uint8Array(one.buffer, one.byteOffset, one.byteLength));
    const text = bytes.map((one) => Array.from(one, (byte) => String.fromCharCode(byte)).join("")).join("");
    return {
        dtype, shape, scale: quantization?.scale ?? null, zero_point: quantization?.zeroPoint ?? null, packed: false,
        data: btoa(text),
    };
}

async function info(request: Request, events: Events): Promise<number> {
    events.emit("facts", { when: "now", ...await gather(request.machine, clockResolutionNs()) });
    for (const name of request.runtimes) {
        if (name === "litert") {
            await events.during(runtime(1));
            events.emit("runtime", { ...named(request), threads: null });
        } else {
            events.emit("no-runtime", { name, reason: "a browser runs .tflite payloads only" });
        }
    }
    return 0;
}

async function profile(request: Request, events: Events): Promise<number> {
    events.emit("runtime", { ...named(request), threads: request.threads ?? 1 });
    events.emit("no-profile", { reason: "LiteRT.js has no profiler" });
    return 0;
}

/** Connects, shows what goes on, and waits for the request. */
export function start(show: (what: string) => void): void {
    const where = new URL("lines", document.baseURI);
    where.protocol = "ws:";
    const socket = new WebSocket(where);
    socket.onopen = () => show("Ready. Leave this page open and in front.");
    socket.onmessage = (message) => {
        show("Measuring. Leave this page open and in front.");
        void carryOut(JSON.parse(message.data as string) as Request, new Events(socket));
    };
    socket.onclose = (event) => {
        if (event.code === AGAIN) {
            location.reload();
        } else {
            show("EdgeKit has ended the connection. This page can be closed.");
        }
    };
}
