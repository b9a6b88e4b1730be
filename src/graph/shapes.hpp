#pragma once

/// Shape inference over a model spec.

#include <map>
#include <string>

#include "quern/model_spec.hpp"

namespace quern {

/// Output shape of every layer at batch 1, and of "input". Throws an input error that names the layer where a
/// shape does not fit.
std::map<std::string, Shape> infer_shapes(const ModelSpec& spec);

/// The window of a conv2d or pooling layer over an input [N,H,W,C], its padding resolved to numbers.
Window resolve_window(const LayerSpec& layer, const Shape& input);

}  // namespace quern
