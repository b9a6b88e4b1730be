"""torch_logits.py WEIGHTS LOGITS IMAGES OUT: builds the network that the exported weights belong to, loads
them with load_state_dict, compares PyTorch's logits with Quern's; then trains a little and writes PyTorch's weights
to OUT, and its logits to OUT.logits, for Quern to read.

Exit status: 0 they agree, 1 they do not, 77 PyTorch is not installed.
"""
import json
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"skipped: {error} (pip install torch numpy)")
    sys.exit(77)

from quern_files import pair, paddings, read_images, read_safetensors, report, write_safetensors


class Network(torch.nn.Module):
    """A Quern model spec in PyTorch. Its layers' names are the names of the state dict."""

    def __init__(self, spec, arrays):
        super().__init__()
        self.spec = spec
        for layer in spec["layers"]:
            name = layer["name"]
            if layer["op"] == "conv2d":
                k, c, r, s = arrays[name + ".weight"].shape
                groups = layer.get("groups", 1)
                self.add_module(name, torch.nn.Conv2d(
                    c * groups, k, (r, s), stride=pair(layer.get("stride", 1)), groups=groups,
                    dilation=pair(layer.get("dilation", 1)), bias=layer.get("bias", True)))
            elif layer["op"] == "dense":
                units, inputs = arrays[name + ".weight"].shape
                self.add_module(name, torch.nn.Linear(inputs, units, bias=layer.get("bias", True)))
            elif layer["op"] == "batchnorm":
                channels = len(arrays[name + ".weight"])
                kind = torch.nn.BatchNorm2d if layer["image"] else torch.nn.BatchNorm1d
                self.add_module(name, kind(channels, eps=layer.get("epsilon", 1e-3),
                                           momentum=1 - layer.get("momentum", 0.99)))

    def forward(self, images):
        values = {"input": (images - self.spec["input"]["mean"]) / self.spec["input"]["std"]}
        last = "input"
        for layer in self.spec["layers"]:
            inputs = [values[name] for name in layer.get("inputs", [last])]
            values[layer["name"]] = self.run(layer, *inputs)
            last = layer["name"]
        return values[last]

    def run(self, layer, x, *more):
        op = layer["op"]
        if op in ("conv2d", "maxpool2d", "avgpool2d"):
            top, left, bottom, right = paddings(layer, x.shape[2], x.shape[3])
            padded = (left, right, top, bottom)
        if op == "conv2d":
            return getattr(self, layer["name"])(F.pad(x, padded))
        if op in ("dense", "batchnorm"):
            return getattr(self, layer["name"])(x)
        if op == "relu":
            return x.relu()
        if op == "add":
            return x + more[0]
        if op == "flatten":
            return x.flatten(1)
        if op == "dropout":
            return F.dropout(x, layer["rate"], self.training)
        if op == "global_avgpool":
            return x.mean((2, 3))
        kernel = pair(layer.get("kernel", 2))
        stride = pair(layer.get("stride", kernel))
        if op == "maxpool2d":
            return F.max_pool2d(F.pad(x, padded, value=float("-inf")), kernel, stride)
        mean = F.avg_pool2d(F.pad(x, padded), kernel, stride)
        if layer.get("count_include_pad", False):
            return mean
        return mean / F.avg_pool2d(F.pad(torch.ones_like(x), padded), kernel, stride)


def mark_images(spec):
    """Whether a layer reads a picture or a vector."""
    vectors, last = set(), "input"
    for layer in spec["layers"]:
        source = layer.get("inputs", [last])[0]
        layer["image"] = source not in vectors
        if source in vectors or layer["op"] in ("flatten", "global_avgpool"):
            vectors.add(layer["name"])
        last = layer["name"]


def logits_of(network, images):
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in images.split(500)]).numpy()


def main():
    weights_file, logits_file, images_file, out = sys.argv[1:]
    torch.manual_seed(1)
    torch.set_num_threads(2)
    arrays, metadata = read_safetensors(weights_file)
    tensors, _ = read_safetensors(logits_file)
    spec = json.loads(metadata["model"])
    mark_images(spec)
    network = Network(spec, arrays)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=True)
    images = torch.from_numpy(read_images(images_file)[: len(tensors["labels"])])
    good = report(f"torch {torch.__version__}", logits_of(network, images), tensors["logits"], tensors["labels"], 1e-5)

    labels = torch.from_numpy(tensors["labels"].astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    network.train()
    for begin in range(0, min(len(images), 1280), 64):
        optimizer.zero_grad()
        F.cross_entropy(network(images[begin : begin + 64]), labels[begin : begin + 64]).backward()
        optimizer.step()
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    write_safetensors(out, state)
    write_safetensors(out + ".logits", {"logits": logits_of(network, images)})
    return 0 if good else 1


if sys.argv[1:] != ["--probe"]:  # else only whether the imports work
    sys.exit(main())
