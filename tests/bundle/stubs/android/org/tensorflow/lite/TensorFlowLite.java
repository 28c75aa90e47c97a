package org.tensorflow.lite;

public final class TensorFlowLite {
    private TensorFlowLite() {}

    public static String runtimeVersion() {
        return System.getProperty("runtimeVersion", "2.20.0");
    }

    public static String schemaVersion() {
        return System.getProperty("schemaVersion", "3");
    }
}
