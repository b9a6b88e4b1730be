#pragma once

/// The oracle: the reference provider on a CPU device, run through the registry like any other
/// implementation.

#include <memory>

#include "check/operands.hpp"
#include "quern/implementation.hpp"

namespace quern::check {

class Oracle {
 public:
  /// Both must outlive the oracle; `cpu` is a CPU device.
  Oracle(const Registry& registry, Device& cpu) : registry_(registry), cpu_(cpu) {}

  /// The outputs of `desc` (in fp32) for these inputs; in-place operands are copied first. Throws a check
  /// error when the registry has no reference for the operation or the reference refuses.
  Operands run(const OpDesc& desc, const Operands& inputs) const;

 private:
  const Registry& registry_;
  Device& cpu_;
};

}  // namespace quern::check
