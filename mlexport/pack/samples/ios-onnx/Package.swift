// swift-tools-version: 5.9
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

let runtime = "onnxruntime-swift-package-manager"

let package = Package(
    name: "Embedder",
    platforms: [.iOS(.v16)],
    products: [.library(name: "Embedder", targets: ["Embedder"])],
    dependencies: [.package(url: "https://github.com/microsoft/\(runtime)", exact: "1.24.2")],
    targets: [
        .target(
            name: "Embedder",
            dependencies: [
                .product(name: "onnxruntime", package: runtime),
                .product(name: "onnxruntime_extensions", package: runtime),
            ],
            path: ".",
            exclude: ["LICENSE-mlexport.txt", "README.md", "pack.json"],
            sources: ["Sources"],
            resources: [.copy("model")]
        )
    ]
)
