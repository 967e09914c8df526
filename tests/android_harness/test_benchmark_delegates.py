# ruff: noqa: E501  (logs keep the lines of the tool)
"""What a delegate took, from the words of each version of benchmark_model."""

from __future__ import annotations

import pytest

from adascale_runtime.seams.records import Delegation
from android_harness.benchmark_log import parse

XNNPACK = "Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions.\n"


@pytest.mark.parametrize(
    ("asked", "text", "delegation", "name", "verdict", "failed"),
    [
        (  # the GPU takes all, then cannot be prepared; the tool gives up
            "gpu",
            "Replacing 31 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.\n"
            "ERROR: TfLiteGpuDelegate Init: MUL: Expected a 3D tensor\n"
            "ERROR: Restored original execution plan after delegate application failure.\n"
            "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n",
            Delegation(31, 0, 0),
            "TfLiteGpuDelegateV2",
            "not",
            True,
        ),
        (
            "gpu",
            "GPU acceleration is unsupported on this platform.\n" + XNNPACK,
            Delegation(31, 0, 0),
            "GPU",
            "not",
            True,
        ),
        ("gpu", "Failed to apply GPU delegate.", None, "GPU", "not", True),
        (
            "cpu",
            "Failed to apply GPU delegate.\n" + XNNPACK,
            Delegation(31, 31, 1),
            "TfLiteXNNPackDelegate",
            "fully",
            False,
        ),
        (  # nothing but XNNPACK speaks
            "gpu",
            XNNPACK,
            Delegation(31, 0, 0),
            None,
            "not",
            False,
        ),
        (None, XNNPACK, Delegation(31, 31, 1), "TfLiteXNNPackDelegate", "fully", False),
        ("builtin", XNNPACK, Delegation(31, 31, 1), "TfLiteXNNPackDelegate", "fully", False),
        (
            "nnapi",
            "Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n",
            None,
            "NNAPI",
            "not",
            False,
        ),
        (  # the delegate's lines are not printed on some builds: its kernels prove that it took a part
            "gpu",
            "Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 3 "
            "delegate kernels.\nReplacing 9 out of 20 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 4 "
            "partitions.\n",
            None,
            "GPU",
            "partly",
            False,
        ),
        (
            "npu",
            "INFO: TfLiteQnnDelegate delegate: 0 nodes delegated out of 31 nodes with 0 partitions.\n"
            "INFO: Though EXTERNAL delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
            + XNNPACK,
            Delegation(31, 0, 0),
            "TfLiteQnnDelegate",
            "not",
            False,
        ),
        (  # the same fact twice is one
            "npu",
            "TfLiteQnnDelegate delegate: 17 nodes delegated out of 21 nodes with 4 partitions.\n"
            "Replacing 17 out of 21 node(s) with delegate (TfLiteQnnDelegate) node, yielding 9 partitions for subgraph 0.\n"
            "Explicitly applied EXTERNAL delegate, and the model graph will be partially executed by the delegate w/ 4 "
            "delegate kernels.\n",
            Delegation(21, 17, 4),
            "TfLiteQnnDelegate",
            "partly",
            False,
        ),
        (  # two signatures; the second is applied anew after a resize
            "gpu",
            "Replacing 8 out of 8 node(s) with delegate (LITERT_CL) node, yielding 1 partitions for subgraph 0.\n"
            "Replacing 5 out of 9 node(s) with delegate (LITERT_CL) node, yielding 3 partitions for subgraph 1.\n"
            "Replacing 6 out of 9 node(s) with delegate (LITERT_CL) node, yielding 2 partitions for subgraph 1.\n"
            "Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n",
            Delegation(17, 14, 3),
            "LITERT_CL",
            "partly",
            False,
        ),
        (  # 2020 printed no total
            "gpu",
            "INFO: Replacing 64 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.\n"
            "Applied GPU delegate, and the model graph will be completely executed w/ the delegate.\n",
            Delegation(64, 64, 1),
            "TfLiteGpuDelegateV2",
            "fully",
            False,
        ),
        (
            "gpu",
            "INFO: Replacing 60 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions.\n",
            None,
            "TfLiteGpuDelegateV2",
            None,
            False,
        ),
        ("gpu", "", None, None, None, False),
    ],
)
def test_what_the_delegate_took(
    asked: str | None, text: str, delegation: Delegation | None, name: str | None, verdict: str | None, failed: bool
) -> None:
    log = parse(text, asked)
    assert (log.delegation, log.delegate, log.verdict, log.failed_delegate) == (delegation, name, verdict, failed)
    assert log.latency_ms is None
