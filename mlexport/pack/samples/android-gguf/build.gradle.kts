// SPDX-License-Identifier: Apache-2.0
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "mlexport.sample"
    compileSdk = 35
    defaultConfig {
        minSdk = 28
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        // A debug build of llama.cpp is many times slower
        externalNativeBuild { cmake { arguments += "-DCMAKE_BUILD_TYPE=Release" } }
    }
    externalNativeBuild { cmake { path = file("src/main/cpp/CMakeLists.txt") } }
    sourceSets["main"].assets.srcDirs("model")
    // The model is nearly incompressible
    androidResources { noCompress += "gguf" }
    kotlinOptions { jvmTarget = "1.8" }
}
