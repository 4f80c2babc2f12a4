# SPDX-License-Identifier: Apache-2.0
"""The model in ONNX Runtime."""

import onnxruntime
from base import MODEL
from ids import IdsBase


class Embedder(IdsBase):
    def __init__(self, folder=MODEL):
        super().__init__(folder)
        self.session = onnxruntime.InferenceSession(str(self.file), providers=["CPUExecutionProvider"])
        shape = self.session.get_inputs()[0].shape
        # Names stand for axes of any length
        self.shape = None if any(isinstance(size, str) for size in shape) else shape

    def run(self, feed, name):
        return self.session.run([name], feed)[0]
