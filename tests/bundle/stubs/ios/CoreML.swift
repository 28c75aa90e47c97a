// Declarations of Core ML, as far as bundles use them. See README.md: written from the documentation, not from the SDK.
import Foundation

public enum MLMultiArrayDataType: Int, Sendable {
    case double = 0x10040
    case float32 = 0x10020
    case int32 = 0x20020
}

public class MLMultiArray: NSObject {
    public var count: Int { 0 }

    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {}

    public subscript(index: Int) -> NSNumber {
        get { 0 }
        set {}
    }
}

public class MLFeatureValue: NSObject {
    public var multiArrayValue: MLMultiArray? { nil }

    public init(multiArray value: MLMultiArray) {}
}

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public var featureNames: Set<String> { [] }

    public init(dictionary: [String: Any]) throws {}

    public func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

public class MLFeatureDescription: NSObject {}

public class MLModelDescription: NSObject {
    public var inputDescriptionsByName: [String: MLFeatureDescription] { [:] }
    public var outputDescriptionsByName: [String: MLFeatureDescription] { [:] }
}

public class MLModelConfiguration: NSObject {}

public class MLModel: NSObject {
    public var modelDescription: MLModelDescription { MLModelDescription() }

    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}

    public class func compileModel(at modelURL: URL) throws -> URL { modelURL }

    public func prediction(from input: MLFeatureProvider) throws -> MLFeatureProvider { input }
}
