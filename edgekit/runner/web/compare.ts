/** What "the same answer" means: `edgekit.runner.compare`, number for number. */
import type { Values } from "./tensors.js";

/** One output against the host's, over all elements of all samples; the words are those of docs/formats/artifact.md. */
export interface Comparison {
    readonly samples: number;
    readonly finite: boolean;
    readonly exact: boolean;
    readonly snr_db: number | null;
    readonly max_abs_error: number | null;
    readonly cosine: number | null;
    readonly top1_agreement: number | null;
}

/** Compares samples of one output, each flat, whose last axis has `lastAxis` elements. */
export function compare(reference: readonly Values[], candidate: readonly Values[], lastAxis: number): Comparison {
    let [noise, signal, energy, product, worst, agreed, rows] = [0, 0, 0, 0, 0, 0, 0];
    let [exact, finite, comparable] = [true, true, true];
    reference.forEach((expected, k) => {
        const found = candidate[k];
        for (let i = 0; i < expected.length; i++) {
            const a = Number(expected[i]);
            const b = Number(found[i]);
            exact &&= a === b;
            finite &&= Number.isFinite(b);
            comparable &&= Number.isFinite(a);
            noise += (a - b) ** 2;
            signal += a ** 2;
            energy += b ** 2;
            product += a * b;
            worst = Math.max(worst, Math.abs(a - b));
        }
        for (let start = 0; start + lastAxis <= expected.length; start += lastAxis) {
            agreed += Number(largest(expected, start, lastAxis) === largest(found, start, lastAxis));
            rows += 1;
        }
    });
    const norm = Math.sqrt(signal) * Math.sqrt(energy);
    const known = finite && comparable;
    return {
        samples: reference.length,
        finite,
        exact,
        snr_db: known && noise > 0 && signal > 0 ? 10 * Math.log10(signal / noise) : null,
        max_abs_error: known ? worst : null,
        cosine: known && norm > 0 ? product / norm : null,
        top1_agreement: lastAxis >= 2 ? agreed / rows : null,
    };
}

/** Whether a comparison is good enough: finite, and equal or with an SNR of at least `minSnrDb`. */
export function atLeast(found: Comparison, minSnrDb: number): boolean {
    return found.finite && (found.exact || (found.snr_db !== null && found.snr_db >= minSnrDb));
}

/** Where the largest of `count` elements is, the first of equal ones; what is no number counts as larger, as in NumPy. */
function largest(values: Values, start: number, count: number): number {
    let best = 0;
    let most = Number(values[start]);
    for (let i = 1; i < count; i++) {
        const value = Number(values[start + i]);
        if (value > most || (Number.isNaN(value) && !Number.isNaN(most))) {
            [best, most] = [i, value];
        }
    }
    return best;
}
