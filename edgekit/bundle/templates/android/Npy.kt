package PACKAGE

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A NumPy file of version 1: little-endian, C order. Its numbers as doubles, whatever they are stored as. */
internal class Npy private constructor(val shape: List<Int>, val numbers: DoubleArray) {
    /** Numbers of each sample; the first axis counts samples. */
    val perSample: Int get() = shape.drop(1).fold(1) { product, size -> product * size }

    /** One sample as the array that the wrapper takes for a tensor. */
    fun sample(index: Int, tensor: TensorInfo): Any {
        val at = index * perSample
        return when {
            tensor.isQuantized || tensor.dtype == "float32" -> FloatArray(perSample) { numbers[at + it].toFloat() }
            tensor.dtype == "int32" -> IntArray(perSample) { numbers[at + it].toInt() }
            tensor.dtype == "int64" -> LongArray(perSample) { numbers[at + it].toLong() }
            tensor.dtype == "int16" -> ShortArray(perSample) { numbers[at + it].toInt().toShort() }
            tensor.dtype == "bool" -> BooleanArray(perSample) { numbers[at + it] != 0.0 }
            else -> ByteArray(perSample) { numbers[at + it].toInt().toByte() }
        }
    }

    companion object {
        fun read(content: ByteArray): Npy {
            require(content.size > 10 && content[1] == 'N'.code.toByte() && content[6].toInt() == 1) { "no .npy of version 1" }
            val buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN)
            val begins = 10 + (buffer.getShort(8).toInt() and 0xffff)
            val header = String(content, 10, begins - 10, Charsets.ISO_8859_1)
            require("'fortran_order': False" in header) { "not in C order" }
            val descr = header.substringAfter("'descr': '").substringBefore("'")
            val sizes = header.substringAfter("'shape': (").substringBefore(")")
            val shape = sizes.split(",").map { it.trim() }.filter { it.isNotEmpty() }.map { it.toInt() }
            buffer.position(begins)
            val count = shape.fold(1) { product, size -> product * size }
            return Npy(shape, DoubleArray(count) { number(buffer, descr) })
        }

        private fun number(buffer: ByteBuffer, descr: String): Double = when (descr) {
            "<f4" -> buffer.getFloat().toDouble()
            "<f8" -> buffer.getDouble()
            "<i8" -> buffer.getLong().toDouble()
            "<i4" -> buffer.getInt().toDouble()
            "<i2" -> buffer.getShort().toDouble()
            "|u1" -> (buffer.get().toInt() and 0xff).toDouble()
            "|i1", "|b1" -> buffer.get().toDouble()
            else -> throw IllegalArgumentException("cannot read $descr")
        }
    }
}
