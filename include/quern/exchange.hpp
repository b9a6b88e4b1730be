#pragma once

/// Models on their way to other programs and back: ONNX graphs, and weights as PyTorch and Keras name and lay
/// them out.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quern/model_spec.hpp"
#include "quern/safetensors.hpp"

namespace quern {

struct OnnxOptions {
  /// Leave every batch normalisation a node of its own. Otherwise it is folded, in double precision, into the
  /// convolution or dense layer before it, or, where only pooling and flattening lie between and no padding
  /// would tell the difference, into the one after it.
  bool keep_batchnorm = false;
  std::vector<std::string> class_names;  ///< kept in the model's metadata
};

/// The inference graph as an ONNX model (IR version 8, opset 15; https://onnx.ai/onnx/operators).
///
///   input    "images"  f32[N, C, H, W], pixels scaled to [0, 1]; the spec's mean and std are applied inside
///   output   "logits"  f32[N, classes]
///
/// N is free. Nodes carry the names of the spec's layers; dropout is gone. Vectors flattened from pictures
/// keep ONNX' channel-major order where only dense layers read them (their columns are permuted); elsewhere a
/// Transpose brings Quern's.
/// `weights`: flat, in the order of weight_layout(spec), running statistics included.
std::string encode_onnx(const ModelSpec& spec, std::span<const float> weights,
                        const OnnxOptions& options = {});

/// Whose names and layouts the tensors of a safetensors file follow.
enum class WeightHome : std::uint8_t {
  torch,  ///< conv1.weight [K,C/G,R,S], dense1.weight [out,in], bn1.weight, .bias, .running_mean,
          ///< .running_var
  keras,  ///< conv1/kernel [R,S,C/G,K], dense1/kernel [in,out], bn1/gamma, beta, moving_mean, moving_variance
};
const char* to_string(WeightHome home) noexcept;

/// Writes weights and running statistics as f32. PyTorch flattens pictures channel by channel, Quern and
/// Keras pixel by pixel; columns of dense layers and entries of batch norms that read a flattened picture are
/// permuted for PyTorch. Throws an input error where that cannot be told: a sum of a flattened picture and
/// another vector.
void export_weights(const std::filesystem::path& path, const ModelSpec& spec, std::span<const float> weights,
                    WeightHome home);

struct ImportOptions {
  std::optional<WeightHome> home;  ///< told by the names where it is not given: Keras' have a slash
  /// Beginnings of names to be replaced, {"features.0", "conv1"}: whole parts between dots or slashes.
  std::vector<std::pair<std::string, std::string>> renames;
};

/// Reads weights for `spec` from a safetensors file in f32, f64, f16 or bf16; flat, in the order of
/// weight_layout(spec). PyTorch's `num_batches_tracked` is ignored. Throws an input error that names the
/// tensors that are missing, left over, of another shape or not finite.
std::vector<float> import_weights(const std::filesystem::path& path, const ModelSpec& spec,
                                  const ImportOptions& options = {});
/// The same of a file that was read already.
std::vector<float> import_weights(const SafetensorsFile& file, const ModelSpec& spec,
                                  const ImportOptions& options = {});

}  // namespace quern
