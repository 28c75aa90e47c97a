/** A sustained run, told chunk by chunk in memory that does not grow: `edgekit.runner.sustain`. */
import type { Events } from "./events.js";
import type { Sampler } from "./measure.js";

const KEPT = 200;
const NS = 1e6;
const MISSING = { temperature_c: "a page cannot tell", frequency_hz: "a page cannot tell" };

/** Samples for `durationNs`, and tells of each `chunkNs`: how many invokes, the slowest sample, every k-th of them. */
export async function sustain(sampler: Sampler, durationNs: number, chunkNs: number, events: Events): Promise<void> {
    const begun = performance.now();
    for (let at = 0; at < durationNs;) {
        const start = at;
        let [n, most, total, every] = [0, 0, 0, 1];
        let kept: number[] = [];
        for (let seen = 0; at - start < chunkNs && at < durationNs; seen++) {
            const found = await sampler.sample();
            if (seen % every === 0 && kept.length === KEPT) {
                kept = kept.filter((_, i) => i % 2 === 0);
                every *= 2;
            }
            if (seen % every === 0) {
                kept.push(found);
            }
            n += sampler.invokes;
            total += found * sampler.invokes;
            most = Math.max(most, found);
            await events.heartbeat();
            at = Math.round((performance.now() - begun) * NS);
        }
        events.emit("chunk", {
            at_ns: at, n, max_ns: most, total_ns: total, kept_ns: kept, temperature_c: null, frequency_hz: null,
            missing: MISSING,
        });
        sampler.grow(total / n);
    }
}
