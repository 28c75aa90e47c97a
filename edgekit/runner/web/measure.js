const Z_95 = 1.959963984540054;
const AGREE = 0.02;
const STEPS = 200;
const MOST_INVOKES = 1 << 20;
const NS = 1e6;
/** The smallest step by which the clock moves, in ns. */
export function clockResolutionNs() {
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
export async function timeOnce(work) {
    const begun = performance.now();
    await work();
    return Math.round((performance.now() - begun) * NS);
}
/** Samples of one model: each is the mean of `invokes` in a row, in whole ns. */
export class Sampler {
    invoke;
    resolutionNs;
    events;
    invokes = 1;
    constructor(invoke, resolutionNs, events) {
        this.invoke = invoke;
        this.resolutionNs = resolutionNs;
        this.events = events;
    }
    /** One sample. */
    async sample() {
        const begun = performance.now();
        for (let k = 0; k < this.invokes; k++) {
            await this.invoke();
        }
        return Math.round(((performance.now() - begun) * NS) / this.invokes);
    }
    /** Takes more invokes a sample until one is long enough for the clock; returns the samples on the way. */
    async fit() {
        const samples = [];
        do {
            samples.push(await this.sample());
            await this.events.heartbeat();
        } while (this.grow(samples[samples.length - 1]));
        return samples;
    }
    /** Whether a sample of `meanNs` an invoke is too short for the clock; then the next ones take more invokes. */
    grow(meanNs) {
        const wanted = STEPS * this.resolutionNs;
        if (meanNs * this.invokes >= wanted || this.invokes >= MOST_INVOKES) {
            return false;
        }
        const needed = meanNs > 0 ? Math.ceil((1.1 * wanted) / meanNs) : 2 * this.invokes;
        this.invokes = Math.min(MOST_INVOKES, 16 * this.invokes, Math.max(this.invokes + 1, needed));
        return true;
    }
    /** Invokes until steady or until `maxNs` have passed. An engine that gets faster meanwhile takes more a sample. */
    async warmUp(maxNs) {
        const begun = performance.now();
        const left = () => (performance.now() - begun) * NS < maxNs;
        const samples = await this.fit();
        let before = null;
        while (left()) {
            const lasts = Math.max(1, samples[samples.length - 1] * this.invokes);
            const size = before?.length ?? Math.min(200, Math.max(10, Math.ceil(1e8 / lasts))); // about 0.1 s
            const window = [];
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
    async take(minSamples, minNs, maxNs) {
        const samples = [];
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
function isSteady(before, window) {
    const half = window.length >> 1;
    const [a, b] = [median(before), median(window)];
    const [c, d] = [median(window.slice(0, half)), median(window.slice(half))];
    return Math.abs(b - a) <= AGREE * a && Math.abs(d - c) <= AGREE * c;
}
function sorted(samples) {
    return [...samples].sort((a, b) => a - b);
}
function median(samples) {
    const ordered = sorted(samples);
    const middle = ordered.length >> 1;
    return ordered.length % 2 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2;
}
/** Half-width of the median's 95 % interval from order statistics, as a share of the median; infinite below 6. */
function medianHalfWidth(samples) {
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
