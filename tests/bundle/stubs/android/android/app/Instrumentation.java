package android.app;

import android.content.Context;

public class Instrumentation {
    public Context getContext() {
        return null;
    }

    public Context getTargetContext() {
        return null;
    }
}
