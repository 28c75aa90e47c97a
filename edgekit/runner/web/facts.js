/** What a page can say of the browser and the machine that it runs in, and of what it cannot, why. */
import { supportsFeature } from "@litertjs/core";
import { text } from "./tensors.js";
const MEMORY_PATIENCE_MS = 30_000;
const FROM_THE_MACHINE = [
    "cpu_model", "cores", "affinity", "machine", "kernel", "os", "python", "libc", "boot_id", "memory_total_bytes", "governor",
    "frequency_max_hz", "uptime_s", "load_1min", "memory_available_bytes", "frequency_hz", "temperature_c",
];
/** All facts. `machine`: those that EdgeKit read itself, where the browser runs on its machine. */
export async function gather(machine, resolutionNs) {
    const hints = await readHints();
    const values = {};
    const missing = {};
    for (const name of FROM_THE_MACHINE) {
        values[name] = null;
        missing[name] = "a page cannot tell";
    }
    values.cores = navigator.hardwareConcurrency;
    values.machine = joined(hints.architecture, hints.bitness);
    values.os = joined(hints.platform, hints.platformVersion);
    Object.assign(values, machine?.values);
    Object.assign(missing, machine?.missing);
    values.browser = browserName(hints);
    values.user_agent = navigator.userAgent;
    values.cross_origin_isolated = crossOriginIsolated;
    values.clock_resolution_ns = resolutionNs;
    values.visible = document.visibilityState === "visible";
    values.wasm_features = await wasmFeatures();
    values.time_unix_s = Date.now() / 1000;
    [values.webgpu, missing.webgpu] = await adapter();
    for (const [name, value] of Object.entries(values)) {
        if (value === null) {
            missing[name] ??= "the browser does not tell";
        }
        else {
            delete missing[name];
        }
    }
    return { values, missing };
}
/** What the page takes, in bytes, by the browser's own count; or why it does not count. */
export async function memory(threads) {
    const measured = performance;
    if (!crossOriginIsolated || measured.measureUserAgentSpecificMemory === undefined) {
        return { bytes: null, because: "measureUserAgentSpecificMemory needs a cross-origin isolated page in Chromium" };
    }
    if (threads > 1) {
        return { bytes: null, because: "threads of wasm that wait for work do not answer when memory is counted" };
    }
    const late = new Promise((resolve) => setTimeout(() => resolve(null), MEMORY_PATIENCE_MS));
    try {
        const found = await Promise.race([measured.measureUserAgentSpecificMemory(), late]);
        const because = `the browser did not count within ${MEMORY_PATIENCE_MS / 1000} s`;
        return found === null ? { bytes: null, because } : { bytes: found.bytes, because: null };
    }
    catch (error) {
        return { bytes: null, because: text(error) };
    }
}
/** User agent client hints, which only secure pages in Chromium have. */
async function readHints() {
    const wanted = ["architecture", "bitness", "fullVersionList", "platform", "platformVersion"];
    try {
        return await navigator.userAgentData?.getHighEntropyValues(wanted) ?? {};
    }
    catch {
        return {};
    }
}
/** `Chromium 156.0.8078.108`; elsewhere the end of the user agent, which names the browser last. */
function browserName(hints) {
    const brands = hints.fullVersionList?.filter(({ brand }) => !/not.?a.?brand/i.test(brand)) ?? [];
    const own = brands.find(({ brand }) => brand !== "Chromium") ?? brands[0];
    return own ? `${own.brand} ${own.version}` : navigator.userAgent.split(") ").pop() ?? navigator.userAgent;
}
function joined(...parts) {
    return parts.filter((part) => typeof part === "string" && part !== "").join(" ") || null;
}
async function wasmFeatures() {
    const names = ["relaxedSimd", "threads", "jspi"];
    const found = await Promise.all(names.map((name) => supportsFeature(name).catch(() => false)));
    return names.filter((_, i) => found[i]);
}
async function adapter() {
    const gpu = navigator.gpu;
    if (gpu === undefined) {
        return [null, "the page has no navigator.gpu"];
    }
    try {
        const found = await gpu.requestAdapter();
        return found === null ? [null, "the browser has no adapter"] : [joined(found.info.vendor, found.info.architecture, found.info.description) ?? "an adapter without a name", ""];
    }
    catch (error) {
        return [null, text(error)];
    }
}
