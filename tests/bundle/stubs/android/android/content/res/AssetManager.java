package android.content.res;

import java.io.IOException;
import java.io.InputStream;

public final class AssetManager implements AutoCloseable {
    public InputStream open(String fileName) throws IOException {
        throw new IOException();
    }

    public AssetFileDescriptor openFd(String fileName) throws IOException {
        throw new IOException();
    }

    @Override
    public void close() {}
}
