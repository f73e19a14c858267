"""clquant: int8 quantization of neural networks on any OpenCL device.

>>> import clquant as cq
>>> model = cq.load("resnet18.onnx")                    # or cq.from_torch(module, example_input)
>>> int8 = cq.ptq(model, images, observer="mse")        # (N, C, H, W), batches, a DataLoader or a folder
>>> cq.verify(int8, images).mismatched_codes            # 0
>>> y = int8(images[:8])
>>> int8.save("resnet18-int8.onnx")
"""

from ._native import lib as _lib, set_log_level, text as _text
from .device import Device, devices
from .errors import (BadData, CannotCreate, DeviceError, Diverged, Error, GateFailed, InputOutputError, InternalError,
                     Interrupted, NoInput, OutOfMemory, UsageError)
from .model import Model, Spec, from_onnx, from_torch, load
from .plots import plot_confusion, plot_layers
from .policy import Rule
from .work import Analysis, Result, analyze, bench, evaluate, ptq, qat, verify

__version__ = _text(_lib.clq_version())
__all__ = [name for name in dir() if not name.startswith("_")
           and name not in ("device", "errors", "model", "plots", "policy", "work", "progress", "arrays", "data")]
