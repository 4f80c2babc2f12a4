"""Operators that NPU compilers take, by their makers' own lists.

A list is the first sieve, not a proof: types, ranks and attributes decide too. Proof is `--target qnn`, which compiles
with the CPU fallback disabled, and OpenVINO's query where a device's compiler is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlexport.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorList:
    """Operators that one kind of NPU takes.

    Attributes:
        names: as the graph's own format calls them; for ONNX Runtime's operators with their domain in front.
        source: where the list was read.
    """

    names: frozenset[str]
    source: str


# "RotaryEmbedding" and the quantisers also as ONNX Runtime's own; Conv- and MatMulInteger go only behind
# DynamicQuantizeLinear, which no graph of this project has, and are left out with it
_QNN = """
    Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Conv ConvTranspose Cos
    CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Exp Expand Flatten Floor Gather GatherElements GatherND
    Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish
    Identity InstanceNormalization IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization MatMul Max MaxPool Mean Min Mod Mul Neg NonZero Not Or PRelu Pad Pow QuantizeLinear
    RandomNormalLike RandomUniformLike Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu
    RMSNormalization Reshape Resize RoiAlign Round RotaryEmbedding STFT ScatterElements ScatterND Sigmoid Sign Sin Slice
    Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze
    Upsample Where
    com.microsoft.DequantizeLinear com.microsoft.FusedMatMul com.microsoft.Gelu com.microsoft.Inverse
    com.microsoft.MatMulNBits
    com.microsoft.QuantizeLinear com.microsoft.QuickGelu com.microsoft.RotaryEmbedding
    com.microsoft.SimplifiedLayerNormalization
"""
# The notes of releases 2.4 to 2.7; Attention is in none of them, and compiles with 2.7
_QNN_LATER = """
    GRU IsInf LpPool OneHot Selu Xor Shape ReduceLogSumExp QLinearMatMul NonMaxSuppression If
    ai.onnx.ml.ArrayFeatureExtractor MaxRoiPool QLinearConv Swish Attention
"""

# OpenVINO's operations with a parser of their own in the NPU's compiler
_OPENVINO = """
    Parameter Result Constant Convert ConvertLike Softmax LogSoftmax Tile Split Power Multiply Relu Convolution
    GroupConvolution GroupNormalization ConvolutionBackpropData GroupConvolutionBackpropData AvgPool MaxPool
    AdaptiveAvgPool AdaptiveMaxPool ShuffleChannels Gather GatherND GatherTree NV12toRGB NV12toBGR I420toRGB I420toBGR
    RandomUniform OneHot BatchNormInference GatherElements ScatterNDUpdate ScatterUpdate ScatterElementsUpdate Clamp Elu
    Reshape Squeeze Sigmoid GridSample LRN ReduceMax ReduceMean ReduceLogicalOr ReduceLogicalAnd ReduceProd ReduceSum
    ReduceMin ReduceL1 ReduceL2 Unsqueeze Minimum Maximum Add Divide SquaredDifference FloorMod Mod Proposal Reverse
    FakeQuantize FakeConvert MatMul Tan Tanh Sin Cos Sqrt Sinh Cosh Asinh Acosh Atanh Log Selu Gelu Exp HSwish Floor
    Round Mish Erf Broadcast Bucketize Transpose Interpolate TopK RegionYolo ReorgYolo DetectionOutput NormalizeL2
    CumSum Eye MVN Concat ROIPooling PSROIPooling ROIAlign ExperimentalDetectronROIFeatureExtractor StridedSlice PRelu
    Swish GRN Negative Sign CTCGreedyDecoder CTCGreedyDecoderSeqLen Pad LSTMCell Subtract LogicalAnd LSTMSequence
    Ceiling SoftPlus Equal Select NonMaxSuppression DepthToSpace ReverseSequence Less LessEqual NotEqual Greater
    GreaterEqual LogicalNot LogicalOr LogicalXor BitwiseAnd BitwiseOr BitwiseXor BitwiseNot SpaceToDepth BatchToSpace
    SpaceToBatch ExtractImagePatches Abs Atan Asin Acos Roll HSigmoid HardSigmoid EmbeddingBagOffsetsSum
    EmbeddingSegmentsSum EmbeddingBagPackedSum Assign ReadValue GRUCell GRUSequence DeformablePSROIPooling
    TensorIterator Loop DFT IDFT RDFT IRDFT STFT If ShapeOf Range NonZero RMS Inverse DeformableConvolution
    VariadicSplit RoPE ScaledDotProductAttention Identity
"""
# What the compiler's passes turn into those before it parses, and how files spell three of them
_OPENVINO_CONVERTED = "Slice Einsum GroupQueryAttention Const SoftMax ReLU"

LISTS: Mapping[str, OperatorList] = {
    "qnn-htp": OperatorList(
        names=frozenset(f"{_QNN} {_QNN_LATER}".split()),
        source="onnxruntime-qnn's QNN-ExecutionProvider.md, 'Supported ONNX operators' (2.3), and its later releases",
    ),
    "openvino-npu": OperatorList(
        names=frozenset(f"{_OPENVINO} {_OPENVINO_CONVERTED}".split()),
        source="openvinotoolkit/npu_compiler, frontend/IE.cpp, the operations it parses",
    ),
}


def unsupported(operators: Iterable[str], which: str) -> tuple[str, ...]:
    """Operators that are not in a list, each once, in alphabetical order.

    Args:
        operators: "qnn-htp": ONNX's operators, those of ONNX Runtime's domain with "com.microsoft." in front;
            "openvino-npu": OpenVINO's operations, as an IR has them.
        which: a key of LISTS.

    Raises:
        UsageError: no such list.
    """
    if which not in LISTS:
        raise UsageError(f"no list of operators is called '{which}': choose from {', '.join(LISTS)}")
    return tuple(sorted(set(operators) - LISTS[which].names))
