# SPDX-License-Identifier: Apache-2.0
"""The model in OpenVINO, on the CPU; another device is a word: "GPU", "NPU"."""

import openvino
from base import MODEL
from ids import IdsBase


class Embedder(IdsBase):
    def __init__(self, folder=MODEL, device="CPU"):
        super().__init__(folder)
        # Where bfloat16 is fast OpenVINO computes in it, which would be the largest loss of an f32 or f16 file
        exact = {"INFERENCE_PRECISION_HINT": "f32"} if self.facts["precision"] in ("f32", "f16") else {}
        self.model = openvino.Core().compile_model(self.file, device, exact)
        shape = self.model.input("input_ids").get_partial_shape()
        self.shape = tuple(shape.to_shape()) if shape.is_static else None

    def run(self, feed, name):
        return self.model(feed)[name].copy()
