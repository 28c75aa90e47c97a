import CoreML
import XCTest

@testable import PACKAGE

/// On a device, the golden inputs give the golden outputs, as closely as each variant's manifest asks.
final class GoldenTests: XCTestCase {
    private func npy(_ name: String) throws -> Npy {
        let root = try XCTUnwrap(Bundle.module.resourceURL)
        return try Npy(Data(contentsOf: root.appendingPathComponent(name)))
    }

    func testEveryVariantAnswersAsItDidWhereItWasProven() throws {
        for golden in Golden.all {
            let loaded = try Loaded(WRAPPER.variants, named: golden.variant, configuration: MLModelConfiguration())
            let inputs = try golden.inputs.map(npy)
            let wanted = try golden.outputs.map(npy)
            var signal = [Double](repeating: 0, count: wanted.count)
            var noise = [Double](repeating: 0, count: wanted.count)
            for sample in 0..<inputs[0].shape[0] {
                let answers = try loaded.run(inputs.map { $0.sample(sample) })
                for (output, answer) in answers.enumerated() {
                    let references = wanted[output].sample(sample)
                    XCTAssertEqual(references.count, answer.count)
                    for (reference, value) in zip(references, answer) {
                        signal[output] += reference * reference
                        noise[output] += (reference - value) * (reference - value)
                    }
                }
            }
            for output in wanted.indices {
                let snr = noise[output] == 0 ? Double.infinity : 10 * log10(signal[output] / noise[output])
                XCTAssertGreaterThanOrEqual(
                    snr, golden.minimumDecibels, "\(golden.variant): \(loaded.variant.outputs[output].name)")
            }
        }
    }
}
