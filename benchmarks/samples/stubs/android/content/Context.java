package android.content;

/** The two methods of Android's class that the samples call. */
public abstract class Context {
    public abstract android.content.res.AssetManager getAssets();

    public abstract java.io.File getNoBackupFilesDir();
}
