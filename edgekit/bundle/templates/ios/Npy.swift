import Foundation

/// A NumPy file of version 1: little-endian, C order. Its numbers as doubles, whatever they are stored as.
struct Npy {
    struct Unreadable: Error {
        let why: String
    }

    let shape: [Int]
    let numbers: [Double]

    /// Numbers of each sample; the first axis counts samples.
    var perSample: Int { shape.dropFirst().reduce(1, *) }

    func sample(_ index: Int) -> [Double] {
        Array(numbers[(index * perSample)..<((index + 1) * perSample)])
    }

    init(_ content: Data) throws {
        let bytes = [UInt8](content)
        guard bytes.count > 10, bytes[1] == 78, bytes[6] == 1 else { throw Unreadable(why: "no .npy of version 1") }
        let begins = 10 + Int(bytes[8]) + 256 * Int(bytes[9])
        let header = String(decoding: bytes[10..<begins], as: UTF8.self)
        guard header.contains("'fortran_order': False") else { throw Unreadable(why: "not in C order") }
        let descr = Npy.between(header, "'descr': '", "'")
        shape = Npy.between(header, "'shape': (", ")").split(separator: ",").compactMap {
            Int($0.trimmingCharacters(in: .whitespaces))
        }
        let count = shape.reduce(1, *)
        let data = Data(bytes[begins...])
        switch descr {
        case "<f4": numbers = Npy.read(data, count) { Double(Float(bitPattern: UInt32(littleEndian: $0))) }
        case "<f8": numbers = Npy.read(data, count) { Double(bitPattern: UInt64(littleEndian: $0)) }
        case "<i8": numbers = Npy.read(data, count) { Double(Int64(littleEndian: $0)) }
        case "<i4": numbers = Npy.read(data, count) { Double(Int32(littleEndian: $0)) }
        case "<i2": numbers = Npy.read(data, count) { Double(Int16(littleEndian: $0)) }
        case "|u1": numbers = Npy.read(data, count) { (value: UInt8) in Double(value) }
        case "|i1", "|b1": numbers = Npy.read(data, count) { (value: Int8) in Double(value) }
        default: throw Unreadable(why: "cannot read \(descr)")
        }
    }

    private static func read<Stored>(_ data: Data, _ count: Int, _ number: (Stored) -> Double) -> [Double] {
        data.withUnsafeBytes { raw in
            (0..<count).map {
                number(raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Stored>.size, as: Stored.self))
            }
        }
    }

    private static func between(_ text: String, _ first: String, _ last: String) -> String {
        guard let begin = text.range(of: first) else { return "" }
        let rest = text[begin.upperBound...]
        guard let end = rest.range(of: last) else { return "" }
        return String(rest[..<end.lowerBound])
    }
}
