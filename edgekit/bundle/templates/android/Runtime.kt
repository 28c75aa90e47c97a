package PACKAGE

import android.content.Context
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite

/** The runtime here is not one that these models can be given to. */
public class RuntimeVersionException(message: String) : IllegalStateException(message)

/** No variant could be loaded; the last one's failure is the cause. */
public class NoVariantException(message: String, cause: Throwable?) : IllegalStateException(message, cause)

/** One input or output: real = scale * (stored - zeroPoint), one entry a tensor or one a channel of `axis`. */
internal class TensorInfo(
    val name: String,
    val binding: String,
    val shape: IntArray,
    val dtype: String,
    val scale: FloatArray,
    val zeroPoint: IntArray,
    val axis: Int,
) {
    val elements: Int = shape.fold(1) { product, size -> product * size }
    val bytes: Int = elements * when (dtype) {
        "int64" -> 8
        "float32", "int32" -> 4
        "int16" -> 2
        else -> 1
    }
    private val perChannel: Int =
        if (scale.size < 2) elements else shape.drop(axis + 1).fold(1) { product, size -> product * size }

    val isQuantized: Boolean get() = scale.isNotEmpty()

    fun channelOf(element: Int): Int = if (scale.size < 2) 0 else (element / perChannel) % scale.size
}

/** One artifact in the assets, in the order in which they are tried. */
internal class VariantInfo(
    val name: String,
    val artifactId: String,
    val asset: String,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
)

/** The first variant that loads, and what was passed over before it. */
internal class Loaded private constructor(
    val variant: VariantInfo,
    val passedOver: Map<String, Throwable>,
    private val interpreter: Interpreter,
) : AutoCloseable {
    private val outputBuffers: List<ByteBuffer> = variant.outputs.map { direct(it.bytes) }
    private val signature: String? = interpreter.signatureKeys.firstOrNull { key ->
        interpreter.getSignatureInputs(key).toSet() == variant.inputs.map { it.binding }.toSet() &&
            interpreter.getSignatureOutputs(key).toSet() == variant.outputs.map { it.binding }.toSet()
    }

    /** Runs once: flat arrays in row-major order, in the model's order. */
    fun run(inputs: List<Any>) {
        require(inputs.size == variant.inputs.size) { "the model takes ${variant.inputs.size} inputs" }
        val packed = inputs.zip(variant.inputs) { value, tensor -> pack(value, tensor) }
        outputBuffers.forEach { it.clear() }
        if (signature == null) {
            val answers: Map<Int, Any> = outputBuffers.withIndex().associate { it.index to it.value }
            interpreter.runForMultipleInputsOutputs(packed.toTypedArray<Any>(), answers)
        } else {
            val given: Map<String, Any> = variant.inputs.zip(packed) { tensor, buffer -> tensor.binding to buffer }.toMap()
            val answers: Map<String, Any> =
                variant.outputs.zip(outputBuffers) { tensor, buffer -> tensor.binding to buffer }.toMap()
            interpreter.runSignature(given, answers, signature)
        }
    }

    fun floats(index: Int): FloatArray {
        val tensor = variant.outputs[index]
        val buffer = read(index)
        if (!tensor.isQuantized) {
            return FloatArray(tensor.elements) { buffer.getFloat() }
        }
        return FloatArray(tensor.elements) { element ->
            val channel = tensor.channelOf(element)
            tensor.scale[channel] * (integer(buffer, tensor.dtype) - tensor.zeroPoint[channel].toLong()).toFloat()
        }
    }

    fun ints(index: Int): IntArray = read(index).let { b -> IntArray(variant.outputs[index].elements) { b.getInt() } }

    fun longs(index: Int): LongArray = read(index).let { b -> LongArray(variant.outputs[index].elements) { b.getLong() } }

    fun shorts(index: Int): ShortArray =
        read(index).let { b -> ShortArray(variant.outputs[index].elements) { b.getShort() } }

    fun bytes(index: Int): ByteArray = read(index).let { b -> ByteArray(variant.outputs[index].elements) { b.get() } }

    fun booleans(index: Int): BooleanArray =
        read(index).let { b -> BooleanArray(variant.outputs[index].elements) { b.get().toInt() != 0 } }

    private fun read(index: Int): ByteBuffer = outputBuffers[index].duplicate().order(ByteOrder.nativeOrder()).apply { rewind() }

    override fun close() {
        interpreter.close()
    }

    companion object {
        /** Loads the first of the variants that can be loaded, or the one that is named. */
        fun open(context: Context, variants: List<VariantInfo>, threads: Int, name: String?, folder: File? = null): Loaded {
            refuseRuntime()
            val tried = if (name == null) variants else variants.filter { it.name == name }
            require(tried.isNotEmpty()) { "there is no variant $name: choose one of ${variants.map { it.name }}" }
            val passedOver = LinkedHashMap<String, Throwable>()
            for (variant in tried) {
                try {
                    val options = Interpreter.Options().setNumThreads(threads)
                    val interpreter = Interpreter(map(context, variant.asset, folder), options)
                    try {
                        interpreter.allocateTensors()
                        return Loaded(variant, passedOver, interpreter)
                    } catch (failure: Throwable) {
                        interpreter.close()
                        throw failure
                    }
                } catch (failure: Exception) {
                    passedOver[variant.name] = failure
                } catch (failure: LinkageError) {
                    passedOver[variant.name] = failure
                }
            }
            throw NoVariantException("none of ${passedOver.keys} can be loaded", passedOver.values.lastOrNull())
        }

        /** LiteRT numbers its core by itself: the schema and the major version are what can be told apart. */
        private fun refuseRuntime() {
            val schema = TensorFlowLite.schemaVersion()
            val version = TensorFlowLite.runtimeVersion()
            val major = version.substringBefore('.').toIntOrNull() ?: 0
            if (schema != "3" || major < 2) {
                throw RuntimeVersionException(
                    "LiteRT $version (schema $schema) is here; the models were proven with ${Proven.VERSION}: " +
                        "depend on com.google.ai.edge.litert:litert:${Proven.VERSION}",
                )
            }
        }

        /** What lies in a folder, or is an uncompressed asset, is mapped and never copied; a compressed asset is read. */
        private fun map(context: Context, asset: String, folder: File?): ByteBuffer {
            if (folder != null) {
                return FileInputStream(File(folder, asset)).use { stream ->
                    stream.channel.map(FileChannel.MapMode.READ_ONLY, 0, stream.channel.size())
                }
            }
            val opened = try {
                context.assets.openFd(asset)
            } catch (_: FileNotFoundException) {
                val content = context.assets.open(asset).use { it.readBytes() }
                return direct(content.size).apply { put(content).rewind() }
            }
            return opened.use { file ->
                FileInputStream(file.fileDescriptor).use { stream ->
                    stream.channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
                }
            }
        }

        private fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

        private fun pack(value: Any, tensor: TensorInfo): ByteBuffer {
            val buffer = direct(tensor.bytes)
            val count = when (value) {
                is FloatArray -> value.size
                is IntArray -> value.size
                is LongArray -> value.size
                is ShortArray -> value.size
                is ByteArray -> value.size
                is BooleanArray -> value.size
                else -> throw IllegalArgumentException("${tensor.name} takes an array of numbers")
            }
            require(count == tensor.elements) { "${tensor.name} takes ${tensor.elements} elements, not $count" }
            when (value) {
                is FloatArray -> if (tensor.isQuantized) quantize(value, tensor, buffer) else value.forEach { buffer.putFloat(it) }
                is IntArray -> value.forEach { buffer.putInt(it) }
                is LongArray -> value.forEach { buffer.putLong(it) }
                is ShortArray -> value.forEach { buffer.putShort(it) }
                is ByteArray -> value.forEach { buffer.put(it) }
                is BooleanArray -> value.forEach { buffer.put(if (it) 1.toByte() else 0.toByte()) }
            }
            buffer.rewind()
            return buffer
        }

        /** Rounds half to even, as NumPy does where the artifact was proven, and saturates. */
        private fun quantize(value: FloatArray, tensor: TensorInfo, buffer: ByteBuffer) {
            val limits = when (tensor.dtype) {
                "int8" -> -128..127
                "uint8" -> 0..255
                "int16" -> -32768..32767
                else -> Int.MIN_VALUE..Int.MAX_VALUE
            }
            for (element in value.indices) {
                val channel = tensor.channelOf(element)
                val scaled = Math.rint((value[element] / tensor.scale[channel]).toDouble()) + tensor.zeroPoint[channel]
                val stored = scaled.coerceIn(limits.first.toDouble(), limits.last.toDouble()).toInt()
                when (tensor.dtype) {
                    "int8", "uint8" -> buffer.put(stored.toByte())
                    "int16" -> buffer.putShort(stored.toShort())
                    else -> buffer.putInt(stored)
                }
            }
        }

        private fun integer(buffer: ByteBuffer, dtype: String): Int = when (dtype) {
            "int8" -> buffer.get().toInt()
            "uint8" -> buffer.get().toInt() and 0xff
            "int16" -> buffer.getShort().toInt()
            else -> buffer.getInt()
        }
    }
}
