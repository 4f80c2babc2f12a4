package ai.onnxruntime.extensions;

/** The two methods of onnxruntime-extensions-android's class that the sample calls. */
public final class OrtxPackage {
    public static synchronized OrtxPackage getPackage() {
        return new OrtxPackage();
    }

    public String getLibraryPath() {
        return "";
    }
}
