#pragma once

/// A decoder and a naive interpreter of ONNX models, independent of the writer: what the bytes mean to a
/// reader of the specification.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace quern::test {

struct OnnxTensor {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

struct OnnxNode {
  std::string name, type;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, std::vector<std::int64_t>> integers;
  std::map<std::string, float> floats;
};

struct OnnxModel {
  std::int64_t ir_version = 0, opset = 0;
  std::string doc;
  std::map<std::string, std::string> metadata;
  std::vector<OnnxNode> nodes;
  std::map<std::string, OnnxTensor> initializers;
  std::string input, output;
  std::vector<std::int64_t> input_shape;  ///< without the batch

  std::vector<std::string> types() const;
};

/// Throws std::runtime_error for bytes that are no message, or fields this reader does not know.
OnnxModel read_onnx(std::string_view bytes);

/// The output for one input [N, C, H, W].
OnnxTensor run_onnx(const OnnxModel& model, const OnnxTensor& input);

}  // namespace quern::test
