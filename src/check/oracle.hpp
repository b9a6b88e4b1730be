#pragma once

/// The oracle: the reference provider on a CPU device, run through the registry like any other
/// implementation.

#include <memory>

#include "check/operands.hpp"
#include "quern/implementation.hpp"

namespace quern::check {

class Oracle {
 public:
  enum class Threads { one, all };

  /// Both must outlive the oracle; `cpu` is a CPU device. One thread serves the table's small operands best;
  /// results do not depend on it.
  Oracle(const Registry& registry, Device& cpu, Threads threads = Threads::one)
      : registry_(registry), cpu_(cpu), threads_(threads) {}

  /// The outputs of `desc` (in fp32) for these inputs; in-place operands are copied first. Throws a check
  /// error when the registry has no reference for the operation or the reference refuses.
  Operands run(const OpDesc& desc, const Operands& inputs) const;

 private:
  const Registry& registry_;
  Device& cpu_;
  Threads threads_;
};

/// What compare_argmax() judges a fused batch norm + pooling by: the image before ReLU and pooling. Empty for
/// every other operation. `desc` and `inputs` in fp32.
HostTensor normalised_image(const OpDesc& desc, const Operands& inputs, const Oracle& oracle);

}  // namespace quern::check
