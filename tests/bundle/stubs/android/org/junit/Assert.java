package org.junit;

public class Assert {
    protected Assert() {}

    public static void assertEquals(long expected, long actual) {}

    public static void assertEquals(Object expected, Object actual) {}

    public static void assertTrue(String message, boolean condition) {}
}
