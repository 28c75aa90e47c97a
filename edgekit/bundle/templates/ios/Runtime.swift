import CoreML
import Foundation

/// What can be wrong with a model or with what it is given.
public enum ModelError: Error, Equatable, CustomStringConvertible {
    /// The system's Core ML is older than the model asks for.
    case runtimeTooOld(String)
    /// A file of the package is not in its bundle.
    case missing(String)
    /// An input has another number of elements.
    case wrongSize(input: String, wanted: Int, given: Int)
    /// The model did not answer with an output of this name and size.
    case wrongAnswer(String)
    /// No variant could be loaded: each one and why.
    case noVariant(String)

    public var description: String {
        switch self {
        case .runtimeTooOld(let what): return what
        case .missing(let name): return "\(name) is not in the package: copy the whole folder"
        case .wrongSize(let input, let wanted, let given): return "\(input) takes \(wanted) elements, not \(given)"
        case .wrongAnswer(let output): return "the model has no answer \(output) of the size in its manifest"
        case .noVariant(let why): return "no variant can be loaded: \(why)"
        }
    }
}

/// One input or output: the name in the payload, the whole shape, and how its elements are stored.
struct TensorInfo {
    let name: String
    let binding: String
    let shape: [Int]
    let type: MLMultiArrayDataType

    var elements: Int { shape.reduce(1, *) }
}

/// One artifact in the package, in the order in which they are tried.
struct VariantInfo {
    let name: String
    let artifactID: String
    let resource: String
    let inputs: [TensorInfo]
    let outputs: [TensorInfo]
}

/// The first variant that loads, and what was passed over before it.
final class Loaded {
    let variant: VariantInfo
    let passedOver: [String: Error]
    private let model: MLModel

    init(_ variants: [VariantInfo], named: String?, configuration: MLModelConfiguration) throws {
        var failures: [String: Error] = [:]
        for candidate in variants where named == nil || candidate.name == named {
            do {
                let model = try Loaded.compile(candidate, configuration)
                try Loaded.refuseOther(model, candidate)
                self.variant = candidate
                self.model = model
                self.passedOver = failures
                return
            } catch {
                failures[candidate.name] = error
            }
        }
        throw ModelError.noVariant("\(failures)")
    }

    /// Core ML compiles a package for the device that it is on; the outcome is temporary and loaded at once.
    private static func compile(_ variant: VariantInfo, _ configuration: MLModelConfiguration) throws -> MLModel {
        guard let root = Bundle.module.resourceURL else { throw ModelError.missing(variant.resource) }
        let package = root.appendingPathComponent(variant.resource)
        guard FileManager.default.fileExists(atPath: package.path) else { throw ModelError.missing(variant.resource) }
        let compiled = try MLModel.compileModel(at: package)
        defer { try? FileManager.default.removeItem(at: compiled) }
        return try MLModel(contentsOf: compiled, configuration: configuration)
    }

    /// A model that was exchanged is not the one that was proven: its ends have to be those of the manifest.
    private static func refuseOther(_ model: MLModel, _ variant: VariantInfo) throws {
        for tensor in variant.inputs where model.modelDescription.inputDescriptionsByName[tensor.binding] == nil {
            throw ModelError.wrongAnswer(tensor.binding)
        }
        for tensor in variant.outputs where model.modelDescription.outputDescriptionsByName[tensor.binding] == nil {
            throw ModelError.wrongAnswer(tensor.binding)
        }
    }

    /// Runs once: flat arrays in row-major order, in the model's order.
    func run(_ inputs: [[Double]]) throws -> [[Double]] {
        var features: [String: MLFeatureValue] = [:]
        for (values, tensor) in zip(inputs, variant.inputs) {
            guard values.count == tensor.elements else {
                throw ModelError.wrongSize(input: tensor.name, wanted: tensor.elements, given: values.count)
            }
            let array = try MLMultiArray(shape: tensor.shape.map { NSNumber(value: $0) }, dataType: tensor.type)
            for (element, value) in values.enumerated() {
                array[element] = NSNumber(value: value)
            }
            features[tensor.binding] = MLFeatureValue(multiArray: array)
        }
        let answers = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: features))
        return try variant.outputs.map { tensor in
            guard let array = answers.featureValue(for: tensor.binding)?.multiArrayValue,
                array.count == tensor.elements
            else { throw ModelError.wrongAnswer(tensor.name) }
            return (0..<array.count).map { array[$0].doubleValue }
        }
    }
}
