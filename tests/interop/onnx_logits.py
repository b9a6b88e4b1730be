"""onnx_logits.py MODEL.onnx LOGITS.safetensors IMAGES: does onnxruntime compute Quern's logits?

Exit status: 0 yes, 1 no, 77 onnxruntime is not installed.
"""
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error} (pip install onnx onnxruntime)")
    sys.exit(77)

from quern_files import read_images, read_safetensors, report


def main():
    model, logits_file, images_file = sys.argv[1:]
    loaded = onnx.load(model)
    onnx.checker.check_model(loaded, full_check=True)
    tensors, _ = read_safetensors(logits_file)
    images = read_images(images_file)[: len(tensors["labels"])]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"images": images[i : i + 500]})[0] for i in range(0, len(images), 500)]
    kinds = ", ".join(node.op_type for node in loaded.graph.node)
    print(f"onnxruntime {onnxruntime.__version__}: {kinds}")
    return 0 if report("onnx", np.concatenate(parts), tensors["logits"], tensors["labels"], 1e-5) else 1


if sys.argv[1:] != ["--probe"]:  # else only whether the imports work
    sys.exit(main())
