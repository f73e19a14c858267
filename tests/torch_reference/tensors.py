"""safetensors files as {name: numpy array}, without the package of that name."""
import json
import struct

import numpy

_TYPES = {"F32": numpy.float32, "I8": numpy.int8, "U8": numpy.uint8, "I32": numpy.int32}


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length:]
    return {name: numpy.frombuffer(body[slice(*about["data_offsets"])], _TYPES[about["dtype"]]).reshape(about["shape"])
            for name, about in header.items()}


def write(path, tensors, metadata):
    names = {kind: name for name, kind in _TYPES.items()}
    header, offset = {"__metadata__": metadata}, 0
    # The largest alignment first, so that every tensor is aligned.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)
    for name, array in ordered:
        header[name] = {"dtype": names[array.dtype.type], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in ordered:
            file.write(array.tobytes())
