"""keras_logits.py WEIGHTS LOGITS IMAGES OUT: builds the network that the exported weights belong to in Keras, assigns
them by their paths, compares Keras' logits with Quern's; then writes Keras' weights to OUT and logits to OUT.logits.

Exit status: 0 they agree, 1 they do not, 77 Keras is not installed.
"""
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import keras
    import numpy as np
except ImportError as error:
    print(f"skipped: {error} (pip install keras tensorflow)")
    sys.exit(77)

from quern_files import pair, paddings, read_images, read_safetensors, report, write_safetensors


def apply(layer, x, more):
    """One layer of a Quern model spec as Keras layers; paddings that Keras cannot name become ZeroPadding2D."""
    op, name = layer["op"], layer["name"]
    if op == "conv2d":
        top, left, bottom, right = paddings(layer, x.shape[1], x.shape[2])
        x = keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(x)
        return keras.layers.Conv2D(layer["filters"], pair(layer["kernel"]), strides=pair(layer.get("stride", 1)),
                                   dilation_rate=pair(layer.get("dilation", 1)), groups=layer.get("groups", 1),
                                   use_bias=layer.get("bias", True), name=name)(x)
    if op == "dense":
        return keras.layers.Dense(layer["units"], use_bias=layer.get("bias", True), name=name)(x)
    if op == "batchnorm":
        return keras.layers.BatchNormalization(momentum=layer.get("momentum", 0.99),
                                               epsilon=layer.get("epsilon", 1e-3), name=name)(x)
    if op == "relu":
        return keras.layers.ReLU(name=name)(x)
    if op == "add":
        return keras.layers.Add(name=name)([x, *more])
    if op == "flatten":
        return keras.layers.Flatten(name=name)(x)
    if op == "dropout":
        return keras.layers.Dropout(layer["rate"], name=name)(x)
    if op == "global_avgpool":
        return keras.layers.GlobalAveragePooling2D(name=name)(x)
    kernel = pair(layer.get("kernel", 2))
    stride = pair(layer.get("stride", kernel))
    top, left, bottom, right = paddings(layer, x.shape[1], x.shape[2])
    if layer.get("padding", "valid") in ("same", "valid"):
        kind = keras.layers.MaxPooling2D if op == "maxpool2d" else keras.layers.AveragePooling2D
        return kind(kernel, stride, layer.get("padding", "valid"), name=name)(x)
    # Keras pads pools with nothing but "same": fixed paddings are part of this test only after a ReLU's zeros.
    x = keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(x)
    return keras.layers.MaxPooling2D(kernel, stride, name=name)(x)


def main():
    weights_file, logits_file, images_file, out = sys.argv[1:]
    arrays, metadata = read_safetensors(weights_file)
    tensors, _ = read_safetensors(logits_file)
    spec = json.loads(metadata["model"])
    if any(isinstance(layer.get("padding"), list) and "pool" in layer["op"] for layer in spec["layers"]):
        print("skipped: Keras has no pooling with fixed padding")
        return 0
    values = {"input": keras.Input(spec["input"]["shape"])}
    start, last = values["input"], "input"
    values["input"] = keras.layers.Rescaling(1 / spec["input"]["std"], -spec["input"]["mean"] / spec["input"]["std"])(start)
    for layer in spec["layers"]:
        first, *more = [values[name] for name in layer.get("inputs", [last])]
        values[layer["name"]] = apply(layer, first, more)
        last = layer["name"]
    network = keras.Model(start, values[last])
    for variable in network.weights:
        variable.assign(arrays.pop(variable.path))
    if arrays:
        print("left over:", *arrays)
        return 1
    images = read_images(images_file)[: len(tensors["labels"])].transpose(0, 2, 3, 1)
    got = network.predict(images, batch_size=500, verbose=0)
    good = report(f"keras {keras.__version__}", got, tensors["logits"], tensors["labels"], 1e-5)
    write_safetensors(out, {v.path: np.asarray(v, np.float32) for v in network.weights})
    write_safetensors(out + ".logits", {"logits": got})
    return 0 if good else 1


if sys.argv[1:] != ["--probe"]:  # else only whether the imports work
    sys.exit(main())
