#pragma once

/// Small models that between them have every kind of layer in every place that matters to an export.

#include <string>
#include <vector>

#include "quern/graph.hpp"
#include "quern/philox.hpp"

namespace quern::test {

inline ModelSpec model(const std::string& layers, const std::string& input = R"({"shape": [8, 6, 2]})") {
  return parse_model_spec(
      R"({"name": "m", "input": )" + input + R"(, "layers": [)" + layers + R"(], "recipe": {}})", "m");
}

/// Weights that no two tensors share, variances above zero and some scales below it.
inline std::vector<float> weights_for(const ModelSpec& spec, std::uint64_t seed = 3) {
  const WeightLayout layout = weight_layout(spec);
  std::vector<float> weights(static_cast<std::size_t>(layout.total_elements), 0.0f);
  for (const WeightTensor& tensor : layout.tensors)
    for (std::int64_t i = 0; i < tensor.shape.elements(); ++i) {
      const float u = uniform_from_u32(
          philox_u32(seed, RandomPurpose::test, 0, 0, static_cast<std::uint64_t>(tensor.offset + i)));
      weights[static_cast<std::size_t>(tensor.offset + i)] =
          tensor.name.ends_with(".running_var") ? 0.5f + u : u - 0.4f;
    }
  return weights;
}

inline constexpr const char* kConvolutions =
    R"({"name": "a", "op": "conv2d", "filters": 6, "kernel": [3, 2], "padding": "same", "stride": 2, "bias": false},
       {"name": "a_bn", "op": "batchnorm"}, {"name": "a_relu", "op": "relu"},
       {"name": "b", "op": "conv2d", "filters": 4, "kernel": 2, "groups": 2, "dilation": 2, "padding": [1, 0, 2, 1]},
       {"name": "b_relu", "op": "relu"}, {"name": "b_bn", "op": "batchnorm", "epsilon": 0.01},
       {"name": "drop", "op": "dropout", "rate": 0.5},
       {"name": "c", "op": "conv2d", "filters": 4, "kernel": 1, "groups": 2},
       {"name": "pool", "op": "avgpool2d", "kernel": 2, "stride": 1, "padding": [1, 0, 0, 1]},
       {"name": "flat", "op": "flatten"}, {"name": "flat_relu", "op": "relu"},
       {"name": "hidden", "op": "dense", "units": 5, "bias": false}, {"name": "hidden_bn", "op": "batchnorm"},
       {"name": "out", "op": "dense", "units": 3})";

inline constexpr const char* kResidual =
    R"({"name": "a", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"},
       {"name": "bn", "op": "batchnorm"},
       {"name": "b", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same", "bias": false},
       {"name": "sum", "op": "add", "inputs": ["b", "bn"]},
       {"name": "max", "op": "maxpool2d", "kernel": 3, "stride": 2, "padding": "same"},
       {"name": "gap", "op": "global_avgpool"},
       {"name": "logits", "op": "dense", "units": 3})";

/// A batch norm over a flattened picture, whose values are read again besides: their order shows.
inline constexpr const char* kFlattened =
    R"({"name": "max", "op": "maxpool2d"}, {"name": "flat", "op": "flatten"},
       {"name": "bn", "op": "batchnorm"}, {"name": "sum", "op": "add", "inputs": ["bn", "flat"]},
       {"name": "out", "op": "dense", "units": 4})";

/// Pools between a batch norm and the dense layer that takes it in.
inline constexpr const char* kPools =
    R"({"name": "bn", "op": "batchnorm"},
       {"name": "avg", "op": "avgpool2d", "kernel": 2, "padding": [0, 1, 0, 1], "count_include_pad": false},
       {"name": "flat", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 3})";

/// The mean over the padding too: the map must not pass.
inline constexpr const char* kPaddedMean =
    R"({"name": "bn", "op": "batchnorm"},
       {"name": "avg", "op": "avgpool2d", "kernel": 2, "padding": [0, 1, 0, 1], "count_include_pad": true},
       {"name": "flat", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 3})";

}  // namespace quern::test
