"""The operations of NNAPI by the API level that they appeared in, as the NDK publishes them.

Source: enum ``OperationCode`` of the NDK's NeuralNetworks.h (NeuralNetworksTypes.h since Android 12), whose comments
"Operations below are available since API level ..." part the list; codes count through it. Those of feature levels 6
and 7 came with updates of the driver's library, not with an API level.
"""

from __future__ import annotations

#: API level -> the code of its first operation, and all of them in the order of their codes.
PUBLISHED: dict[int, tuple[int, tuple[str, ...]]] = {
    27: (0, (
        "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
        "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
        "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU", "RELU1",
        "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH",
    )),
    28: (29, (
        "BATCH_TO_SPACE_ND", "DIV", "MEAN", "PAD", "SPACE_TO_BATCH_ND", "SQUEEZE", "STRIDED_SLICE", "SUB", "TRANSPOSE",
    )),
    29: (38, (
        "ABS", "ARGMAX", "ARGMIN", "AXIS_ALIGNED_BBOX_TRANSFORM", "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN", "BOX_WITH_NMS_LIMIT", "CAST", "CHANNEL_SHUFFLE", "DETECTION_POSTPROCESSING",
        "EQUAL", "EXP", "EXPAND_DIMS", "GATHER", "GENERATE_PROPOSALS", "GREATER", "GREATER_EQUAL", "GROUPED_CONV_2D",
        "HEATMAP_MAX_KEYPOINT", "INSTANCE_NORMALIZATION", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND", "LOGICAL_NOT",
        "LOGICAL_OR", "LOG_SOFTMAX", "MAXIMUM", "MINIMUM", "NEG", "NOT_EQUAL", "PAD_V2", "POW", "PRELU", "QUANTIZE",
        "QUANTIZED_16BIT_LSTM", "RANDOM_MULTINOMIAL", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN",
        "REDUCE_PROD", "REDUCE_SUM", "ROI_ALIGN", "ROI_POOLING", "RSQRT", "SELECT", "SIN", "SLICE", "SPLIT", "SQRT",
        "TILE", "TOPK_V2", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
        "RESIZE_NEAREST_NEIGHBOR",
    )),
    30: (95, ("QUANTIZED_LSTM", "IF", "WHILE", "ELU", "HARD_SWISH", "FILL", "RANK")),
}  # fmt: skip
#: Codes as the header writes them, to hold the lists to.
CODES = {
    "ADD": 0, "DEQUANTIZE": 6, "LOGISTIC": 14, "MUL": 18, "RESHAPE": 22, "SVDF": 27, "TANH": 28,
    "BATCH_TO_SPACE_ND": 29,
    "MEAN": 31, "SUB": 36, "TRANSPOSE": 37, "ABS": 38, "BIDIRECTIONAL_SEQUENCE_LSTM": 42, "CAST": 45, "EQUAL": 48,
    "GATHER": 51, "GREATER": 53, "LESS": 58, "LOG": 60, "LOG_SOFTMAX": 64, "PAD_V2": 69, "PRELU": 71, "QUANTIZE": 72,
    "QUANTIZED_16BIT_LSTM": 73, "REDUCE_ANY": 76, "REDUCE_SUM": 80, "RSQRT": 83, "SLICE": 86, "TOPK_V2": 90,
    "TRANSPOSE_CONV": 91, "RESIZE_NEAREST_NEIGHBOR": 94, "QUANTIZED_LSTM": 95, "ELU": 98, "HARD_SWISH": 99, "FILL": 100,
    "RANK": 101,
}  # fmt: skip
