package PACKAGE

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlin.math.log10
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** On a device, the golden inputs give the golden outputs, as closely as each variant's manifest asks. */
@RunWith(AndroidJUnit4::class)
public class GoldenTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()

    private fun npy(name: String): Npy = Npy.read(instrumentation.context.assets.open(name).use { it.readBytes() })

    @Test
    public fun everyVariantAnswersAsItDidWhereItWasProven() {
        for (golden in Golden.ALL) {
            val variant = WRAPPER.VARIANTS.first { it.name == golden.variant }
            Loaded.open(instrumentation.CONTEXT, WRAPPER.VARIANTS, 1, variant.name).use { loaded ->
                val inputs = golden.inputs.map { npy(it) }
                val wanted = golden.outputs.map { npy(it) }
                val signal = DoubleArray(wanted.size)
                val noise = DoubleArray(wanted.size)
                for (sample in 0 until inputs.first().shape.first()) {
                    loaded.run(inputs.zip(variant.inputs) { values, tensor -> values.sample(sample, tensor) })
                    for (output in wanted.indices) {
                        val answer = numbers(loaded, output)
                        assertEquals(wanted[output].perSample, answer.size)
                        for (element in answer.indices) {
                            val reference = wanted[output].numbers[sample * answer.size + element]
                            signal[output] += reference * reference
                            noise[output] += (reference - answer[element]) * (reference - answer[element])
                        }
                    }
                }
                for (output in wanted.indices) {
                    val name = "${variant.name}: ${variant.outputs[output].name}"
                    val snr = if (noise[output] == 0.0) Double.POSITIVE_INFINITY else 10 * log10(signal[output] / noise[output])
                    assertTrue("$name has an SNR of $snr dB, and needs ${golden.minSnrDb}", snr >= golden.minSnrDb)
                }
            }
        }
    }

    private fun numbers(loaded: Loaded, output: Int): DoubleArray {
        val tensor = loaded.variant.outputs[output]
        return when {
            tensor.isQuantized || tensor.dtype == "float32" -> loaded.floats(output).map { it.toDouble() }
            tensor.dtype == "int32" -> loaded.ints(output).map { it.toDouble() }
            tensor.dtype == "int64" -> loaded.longs(output).map { it.toDouble() }
            tensor.dtype == "int16" -> loaded.shorts(output).map { it.toDouble() }
            tensor.dtype == "bool" -> loaded.booleans(output).map { if (it) 1.0 else 0.0 }
            tensor.dtype == "uint8" -> loaded.bytes(output).map { (it.toInt() and 0xff).toDouble() }
            else -> loaded.bytes(output).map { it.toDouble() }
        }.toDoubleArray()
    }
}
