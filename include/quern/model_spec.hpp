#pragma once

/// Model specs: the user's description of a network, a DAG of layers in JSON (data/models/*.json).
///
///   {"name": "tiny", "description": "...",
///    "input": {"shape": [28, 28, 1], "mean": 0.0, "std": 1.0},
///    "layers": [
///      {"name": "conv1", "op": "conv2d", "filters": 8, "kernel": 3, "padding": "same"},
///      {"name": "relu1", "op": "relu"},
///      {"name": "flat", "op": "flatten"},
///      {"name": "logits", "op": "dense", "units": 10}],
///    "recipe": {"epochs": 5, "batch_size": 64, "optimizer": "adam", "learning_rate": 0.001}}
///
/// A layer reads the layer before it, or those named in "inputs"; "input" is the batch of images. The last
/// layer gives the logits, [N, classes]. Fields by op ("kernel", "stride", "dilation": a number or [h, w];
/// "padding": "same", "valid", a number, [h, w] or [top, left, bottom, right]; "same" as Keras has it):
///   conv2d          filters, kernel, stride 1, padding "valid", dilation 1, groups 1, bias true
///   dense           units, bias true
///   batchnorm       momentum 0.99, epsilon 0.001
///   maxpool2d       kernel 2, stride = kernel, padding "valid"
///   avgpool2d       the same, and count_include_pad false
///   dropout         rate
///   relu, add, flatten, global_avgpool   none

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "quern/op.hpp"
#include "quern/recipe.hpp"

namespace quern {

struct Padding {
  enum class Kind { same, valid, fixed } kind = Kind::valid;
  int top = 0, left = 0, bottom = 0, right = 0;  ///< fixed
  bool operator==(const Padding&) const = default;
};

struct LayerSpec {
  std::string name;
  OpKind kind = OpKind::relu;
  std::vector<std::string> inputs;  ///< always filled in by the parser

  std::int64_t units = 0;  ///< conv2d filters, dense units
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int groups = 1;
  bool bias = true;
  Padding padding;
  bool count_include_pad = false;
  float momentum = 0.99f, epsilon = 1e-3f;
  float rate = 0;
  bool operator==(const LayerSpec&) const = default;
};

struct ModelSpec {
  std::string name, description;
  std::int64_t height = 28, width = 28, channels = 1;
  float mean = 0, stddev = 1;     ///< of pixels scaled to [0, 1]
  std::vector<LayerSpec> layers;  ///< in an order where inputs come first
  Recipe recipe;
  bool operator==(const ModelSpec&) const = default;
};

/// Parses and checks a spec: unknown keys and ops, missing or unused inputs, cycles, sizes out of range and
/// shapes that do not fit are input errors; `where` (a file name) starts every message.
ModelSpec parse_model_spec(std::string_view json_text, const std::string& where);
nlohmann::json to_json(const ModelSpec& spec);

/// A preset by name (from the models folder, see find_models_directory) or a path to a JSON file.
ModelSpec load_model_spec(const std::string& name_or_path);
std::vector<std::string> model_names();
std::filesystem::path find_models_directory();

/// One row of the summary table: a layer with its output shape (batch 1), parameters and forward FLOPs per
/// image.
struct LayerSummary {
  std::string name, op;
  Shape output;
  std::int64_t parameters = 0;  ///< trained by the optimizer
  std::int64_t state = 0;       ///< running statistics
  double flops = 0;
};
std::vector<LayerSummary> summarize(const ModelSpec& spec);

/// Number of logits.
std::int64_t output_classes(const ModelSpec& spec);

}  // namespace quern
