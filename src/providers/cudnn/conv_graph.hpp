#pragma once

/// A convolution as a graph of cuDNN's: y = [relu](conv(x, w) [+ bias]), dx = conv^T(dy, w), or dw.

#include <vector>

#include "providers/cudnn/descriptor.hpp"
#include "providers/cudnn/tensors.hpp"
#include "quern/op.hpp"

namespace quern::cudnn {

/// What an address in a variant pack belongs to. `x`, `w` and `y` stand for dx, dw and dy in the backward.
enum class Operand : std::int64_t { x = 1, w, y, bias, sum, biased };

struct ConvGraph {
  Direction direction = Direction::forward;
  TensorLayout x, w, y;
  Window window;
  int dilation_h = 1, dilation_w = 1;
  bool bias = false, relu = false;  ///< of the graph: forward only

  /// The operands that have an address, in the order in which run() takes them.
  std::vector<Operand> bound() const;
};

/// The graph of `desc` without an epilogue. `filters` is the type in which the library reads weights and
/// writes their gradient: it wants one type for all three tensors.
ConvGraph conv_graph(const OpDesc& desc, DType filters);

/// The graph's operations as finalised descriptors, each with everything it refers to.
class Operations {
 public:
  explicit Operations(const ConvGraph& graph);
  const std::vector<cudnnBackendDescriptor_t>& nodes() const noexcept { return nodes_; }

 private:
  Descriptor& keep(Descriptor descriptor);
  Descriptor& tensor(Operand id, const TensorLayout& layout, bool intermediate);
  Descriptor& pointwise(cudnnPointwiseMode_t mode);

  std::vector<std::unique_ptr<Descriptor>> kept_;
  std::vector<cudnnBackendDescriptor_t> nodes_;
};

}  // namespace quern::cudnn
