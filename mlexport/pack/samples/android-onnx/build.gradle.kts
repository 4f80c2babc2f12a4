// SPDX-License-Identifier: Apache-2.0
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "mlexport.sample"
    compileSdk = 35
    defaultConfig { minSdk = 24 }
    sourceSets["main"].assets.srcDirs("model")
    // The model is nearly incompressible
    androidResources { noCompress += "onnx" }
    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.27.0")
    implementation("com.microsoft.onnxruntime:onnxruntime-extensions-android:0.13.0")
}
