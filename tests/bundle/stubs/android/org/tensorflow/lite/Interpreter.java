package org.tensorflow.lite;

import java.io.File;
import java.nio.ByteBuffer;
import java.util.Map;

/** Its model answers each output with the bytes of the input of the same place, so that wrappers can be run on a JVM. */
public final class Interpreter implements AutoCloseable {
    public static class Options {
        public Options setNumThreads(int numThreads) {
            return this;
        }
    }

    public Interpreter(File modelFile, Options options) {}

    public Interpreter(ByteBuffer byteBuffer, Options options) {}

    public void allocateTensors() {}

    public String[] getSignatureKeys() {
        return new String[0];
    }

    public String[] getSignatureInputs(String signatureKey) {
        return new String[0];
    }

    public String[] getSignatureOutputs(String signatureKey) {
        return new String[0];
    }

    public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String signatureKey) {}

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        for (int i = 0; i < inputs.length; i++) {
            ((ByteBuffer) outputs.get(i)).put(((ByteBuffer) inputs[i]).duplicate());
        }
    }

    @Override
    public void close() {}
}
