"""Reads what Quern writes, with numpy alone."""
import gzip
import json

import numpy as np

TYPES = {"F32": np.float32, "U8": np.uint8, "I64": np.int64}


def read_safetensors(path):
    """Name -> array, and the metadata."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata


def read_images(path):
    """An IDX file of images, [N, H, W] or [N, H, W, C], as [N, C, H, W] in 0..1."""
    opened = gzip.open(path) if str(path).endswith(".gz") else open(path, "rb")
    with opened as file:
        content = file.read()
    rank = content[3]
    extents = np.frombuffer(content[4 : 4 + 4 * rank], ">i4")
    pixels = np.frombuffer(content[4 + 4 * rank :], np.uint8).reshape(extents)
    if rank == 3:
        pixels = pixels[..., None]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def report(name, got, logits, labels, tolerance):
    """Whether got agrees with Quern's logits: |difference| <= tolerance * (1 + |logit|) everywhere."""
    difference = np.abs(got.astype(np.float64) - logits)
    worst = float((difference / (1 + np.abs(logits))).max())
    same = bool((got.argmax(1) == logits.argmax(1)).all())
    accuracy = float((got.argmax(1) == labels).mean())
    print(f"{name}: {len(labels)} images, largest difference {difference.max():.3g}, relative {worst:.3g}, "
          f"same classes: {same}, accuracy {accuracy:.4f}")
    return worst <= tolerance


def write_safetensors(path, arrays):
    """As PyTorch's and Keras' users do with the safetensors package."""
    header, data = {}, b""
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


def paddings(layer, height, width):
    """(top, left, bottom, right) of a layer, as include/quern/model_spec.hpp defines it."""
    padding = layer.get("padding", "valid")
    if padding == "valid":
        return 0, 0, 0, 0
    if isinstance(padding, int):
        return (padding,) * 4
    if isinstance(padding, list):
        return tuple(padding * 2 if len(padding) == 2 else padding)
    kernel = pair(layer["kernel"])
    stride = pair(layer.get("stride", kernel if "pool" in layer["op"] else 1))
    before, after = [], []
    for size, k, s, d in zip((height, width), kernel, stride, pair(layer.get("dilation", 1))):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        before.append(total // 2)
        after.append(total - total // 2)
    return *before, *after
