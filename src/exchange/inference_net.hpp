#pragma once

/// A network for inference only: dropout is gone, batch normalisation may be folded into its neighbours.

#include <string>
#include <vector>

#include "quern/graph.hpp"
#include "quern/model_spec.hpp"

namespace quern {

/// Weights are in Quern's layouts: conv KRSC, dense [out, in].
struct InferenceLayer {
  LayerSpec spec;  ///< its inputs are layers of the same net, or "input"
  Shape in, out;   ///< at batch 1
  std::vector<float> weight, bias;
  std::vector<float> gamma, beta, mean, variance;  ///< batchnorm

  bool has_product() const noexcept { return spec.kind == OpKind::conv2d || spec.kind == OpKind::dense; }
};

struct InferenceNet {
  std::vector<InferenceLayer> layers;  ///< inputs first
  std::string output;                  ///< the layer that gives the logits

  InferenceLayer& at(std::string_view name);
  /// Layers that read `name`, each once.
  std::vector<std::string> readers(std::string_view name) const;
};

InferenceNet inference_net(const ModelSpec& spec, std::span<const float> weights);

/// Folds what can be folded without changing the function; returns the number of layers gone.
int fold_batchnorm(InferenceNet& net);

}  // namespace quern
