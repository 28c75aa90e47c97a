/**
 * Warm-up to a steady state, and samples: the rules of `edgekit.runner.measure`, with a clock that is coarse.
 *
 * A page's clock moves in steps: 5 µs where the page is cross-origin isolated, 100 µs elsewhere. So a sample is the
 * time of as many invokes in a row as make 200 steps of it, divided by their number: a step more or less is half a
 * percent. What then varies from sample to sample are means, and no percentile of single invokes. The engine collects
 * garbage whenever it likes, and nothing here can stop it.
 */
import type { Events } from "./events.js";

export type Invoke = () => Promise<void>;

const Z_95 = 1.959963984540054;
const AGREE = 0.02;
const STEPS = 200;
const MOST_INVOKES = 1 << 20;
const NS = 1e6;

/** The smallest step by which the clock moves, in ns. */
export function clockResolutionNs(): number {
    let least = Infinity;
    const begun = performance.now();
    for (let last = begun, seen = 0; seen < 40 && last - begun < 200;) {
        const now = performance.now();
        if (now > last) {
            least = Math.min(least, now - last);
            last = now;
            seen += 1;
        }
    }
    return Math.round(least * NS);
}

/** Nanoseconds of one thing. */
export async function timeOnce(work: () => Promise<void> | void): Promise<number> {
    const begun = performance.now();
    await work();
    return Math.round((performance.now() - begun) * NS);
}

/** Samples of one model: each is the mean of `invokes` in a row, in whole ns. */
export class Sampler {
    invokes = 1;

    constructor(private readonly invoke: Invoke, readonly resolutionNs: number, private readonly events: Events) {}

    /** One sample. */
    async sample(): Promise<number> {
        const begun = performance.now();
        for (let k = 0; k < this.invokes; k++) {
            await this.invoke();
        }
        return Math.round(((performance.now() - begun) * NS) / this.invokes);
    }

    /** Takes more invokes a sample until one is long enough for the clock; returns the samples on the way. */
    async fit(): Promise<number[]> {
        const samples: number[] = [];
        do {
            samples.push(await this.sample());
            await this.events.heartbeat();
        } while (this.grow(samples[samples.length - 1]));
        return samples;
    }

    /** Whether a sample of `meanNs` an invoke is too short for the clock; then the next ones take more invokes. */
    grow(meanNs: number): boolean {
        const wanted = STEPS * this.resolutionNs;
        if (meanNs * this.invokes >= wanted || this.invokes >= MOST_INVOKES) {
            return false;
        }
        const needed = meanNs > 0 ? Math.ceil((1.1 * wanted) / meanNs) : 2 * this.invokes;
        this.invokes = Math.min(MOST_INVOKES, 16 * this.invokes, Math.max(this.invokes + 1, needed));
        return true;
    }

    /** Invokes until steady or until `maxNs` have passed. An engine that gets faster meanwhile takes more a sample. */
    async warmUp(maxNs: number): Promise<{ samples: number[]; steady: boolean }> {
        const begun = performance.now();
        const left = () => (performance.now() - begun) * NS < maxNs;
        const samples = await this.fit();
        let before: number[] | null = null;
        while (left()) {
            const lasts = Math.max(1, samples[samples.length - 1] * this.invokes);
            const size = before?.length ?? Math.min(200, Math.max(10, Math.ceil(1e8 / lasts)));  // about 0.1 s
            const window: number[] = [];
            while (window.length < size && left()) {
                window.push(await this.sample());
                await this.events.heartbeat();
            }
            samples.push(...window);
            if (window.length < size) {
                break;
            }
            const grown = this.grow(median(window));
            if (!grown && before !== null && isSteady(before, window)) {
                return { samples, steady: true };
            }
            before = grown ? null : window;
        }
        return { samples, steady: false };
    }

    /** Samples until the median's interval is within ±2 %, at least `minSamples` and `minNs`, at most `maxNs`. */
    async take(
        minSamples: number, minNs: number, maxNs: number,
    ): Promise<{ samples: number[]; stop: "precise" | "time-limit"; width: number | null }> {
        const samples: number[] = [];
        const begun = performance.now();
        let checkAt = minSamples;
        for (;;) {
            samples.push(await this.sample());
            const elapsed = (performance.now() - begun) * NS;
            if (samples.length >= checkAt && elapsed >= minNs) {
                const width = medianHalfWidth(samples);
                if (width <= AGREE) {
                    return { samples, stop: "precise", width };
                }
                checkAt = samples.length + Math.max(10, Math.floor(samples.length / 10));
            }
            if (elapsed >= maxNs && samples.length >= 2) {
                const width = medianHalfWidth(samples);
                return { samples, stop: "time-limit", width: Number.isFinite(width) ? width : null };
            }
            await this.events.heartbeat();
        }
    }
}

/** Whether two windows in a row agree in median, and the later one shows no slope between its halves. */
function isSteady(before: readonly number[], window: readonly number[]): boolean {
    const half = window.length >> 1;
    const [a, b] = [median(before), median(window)];
    const [c, d] = [median(window.slice(0, half)), median(window.slice(half))];
    return Math.abs(b - a) <= AGREE * a && Math.abs(d - c) <= AGREE * c;
}

function sorted(samples: readonly number[]): number[] {
    return [...samples].sort((a, b) => a - b);
}

function median(samples: readonly number[]): number {
    const ordered = sorted(samples);
    const middle = ordered.length >> 1;
    return ordered.length % 2 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2;
}

/** Half-width of the median's 95 % interval from order statistics, as a share of the median; infinite below 6. */
function medianHalfWidth(samples: readonly number[]): number {
    const n = samples.length;
    if (n < 6) {
        return Infinity;
    }
    const ordered = sorted(samples);
    const reach = (Z_95 * Math.sqrt(n)) / 2;
    const low = ordered[Math.max(0, Math.floor(n / 2 - reach))];
    const high = ordered[Math.min(n - 1, Math.ceil(n / 2 + reach))];
    const middle = median(ordered);
    return middle ? Math.max(high - middle, middle - low) / middle : Infinity;
}
