#pragma once

/// The roofline of a machine, measured in this process: what memory and arithmetic units give when nothing
/// else is in the way. (Williams, Waterman & Patterson 2009, "Roofline".)

#include "quern/device.hpp"
#include "quern/op.hpp"

namespace quern {

struct Roofline {
  double bandwidth = 0;   ///< bytes a second, of streams larger than the caches up to `footprint` bytes
  double footprint = 0;   ///< bytes those streams covered
  double fp32_flops = 0;  ///< a second, multiply-adds on fp32 counted as two
  double tf32_flops = 0;  ///< a second, by mma.sync; 0 where there are no tensor cores
  double bf16_flops = 0;

  /// The arithmetic limit that holds for an operation: tensor cores serve conv2d and dense alone.
  double flops_for(const OpDesc& desc) const noexcept;
  /// The least seconds this machine needs for `cost`: the slower of its bytes and its arithmetic.
  double floor_seconds(const OpDesc& desc) const;
};

/// Takes some hundred milliseconds. An input error on the emulator, which makes no claim about speed.
Roofline measure_roofline(Device& device);

}  // namespace quern
