// swift-tools-version: 5.9
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

let package = Package(
    name: "Embedder",
    platforms: [.iOS(.v16)],
    products: [.library(name: "Embedder", targets: ["Embedder"])],
    targets: [
        .target(
            name: "Embedder",
            dependencies: ["llama"],
            path: ".",
            exclude: ["LICENSE-mlexport.txt", "README.md", "pack.json"],
            sources: ["Sources"],
            resources: [.copy("model")]
        ),
        .binaryTarget(
            name: "llama",
            url: "https://github.com/ggml-org/llama.cpp/releases/download/b6901/llama-b6901-xcframework.zip",
            checksum: "4c16fdd8d9fd6c0a996012cb945ce8f5cfcf1812b1a4d2d3e1879503132bbe54"
        ),
    ]
)
