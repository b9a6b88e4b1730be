#!/usr/bin/env bash
# interop_test.sh QUERN SOURCE_DIR onnx|torch|keras: trains a few networks for a moment, exports them, and asks the
# other program for the logits of the whole MNIST test set; from PyTorch and Keras the weights come back, too.
# $QUERN_PYTHON is the Python to use. Exit status 77: the other program is not installed.
set -euo pipefail
quern=$1 source=$2 kind=$3
python=${QUERN_PYTHON:-python3}
here=$source/tests/interop
images=$source/data/mnist/t10k-images-idx3-ubyte.gz
export QUERN_DATA=$source/data PYTHONDONTWRITEBYTECODE=1
command -v "$python" >/dev/null || { echo "skipped: no $python"; exit 77; }
status=0
"$python" "$here/${kind}_logits.py" --probe >"${TMPDIR:-/tmp}/quern-interop-$$" 2>&1 </dev/null || status=$?
text=$(<"${TMPDIR:-/tmp}/quern-interop-$$"); rm -f -- "${TMPDIR:-/tmp}/quern-interop-$$"
if ((status == 77)); then
  echo "$text"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"

# back NAME: what the other program wrote, read by Quern, gives that program's logits.
back() {
  "$quern" import "$1.back" --model "$2" -o "$1.checkpoint" --device cpu --quiet
  "$quern" eval "$1.checkpoint" --logits "$1.again" --device cpu --quiet
  "$python" "$here/compare_logits.py" "$1.back.logits" "$1.again"
}

for model in seed-bn lenet5 resnet-tiny "$here/everything.json"; do
  name=$(basename -- "$model" .json)
  "$quern" train --model "$model" --limit-train 6400 --limit-test 500 --epochs 1 --device cpu --run-dir "$name" --quiet
  "$quern" eval "$name" --logits "$name.logits" --device cpu --quiet
  echo "== $name"
  if [[ $kind == onnx ]]; then
    "$quern" export "$name" --onnx "$name.onnx" --quiet
    "$quern" export "$name" --onnx "$name-bn.onnx" --keep-bn --quiet
    "$python" "$here/onnx_logits.py" "$name.onnx" "$name.logits" "$images"
    "$python" "$here/onnx_logits.py" "$name-bn.onnx" "$name.logits" "$images"
  else
    "$quern" export "$name" "--$kind" "$name.$kind" --quiet
    "$python" "$here/${kind}_logits.py" "$name.$kind" "$name.logits" "$images" "$name.back"
    [[ ! -e $name.back ]] || back "$name" "$model"
  fi
done
