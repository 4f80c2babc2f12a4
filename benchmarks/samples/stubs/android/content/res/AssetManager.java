package android.content.res;

/** The method of Android's class that the samples call. */
public final class AssetManager {
    public java.io.InputStream open(String name) throws java.io.IOException {
        throw new java.io.FileNotFoundException(name);
    }
}
