#pragma once

/// The roofline of a machine, measured in this process: what memory and arithmetic units give when nothing
/// else is in the way. (Williams, Waterman & Patterson 2009, "Roofline".)

#include <cstdint>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "quern/device.hpp"
#include "quern/op.hpp"

namespace quern {

struct Roofline {
  double bandwidth = 0;  ///< bytes a second, of streams larger than the caches up to `footprint` bytes
  double footprint = 0;  ///< bytes those streams covered
  /// Bandwidths of smaller footprints, read and written over and over, smallest first: what caches give.
  /// Measured on the CPU alone.
  struct Cached {
    double footprint = 0, bandwidth = 0;
  };
  std::vector<Cached> caches;
  double fp32_flops = 0;  ///< a second, multiply-adds on fp32 counted as two
  double tf32_flops = 0;  ///< a second, by mma.sync; 0 where there are no tensor cores
  double bf16_flops = 0;

  /// The arithmetic limit that holds for an operation: tensor cores serve conv2d and dense alone.
  double flops_for(const OpDesc& desc) const noexcept;
  /// Where an operation's operands are before it runs.
  enum class Operands : std::uint8_t { in_memory, as_left_by_a_step };
  /// The bandwidth for so many bytes of operands: as a step leaves them, the highest of a measured footprint
  /// that holds them.
  double bandwidth_for(double bytes, Operands operands) const noexcept;
  /// The least seconds this machine needs for an operation: the slower of its bytes and its arithmetic.
  /// Algorithms that save multiplications (Winograd) may need less.
  double floor_seconds(const OpDesc& desc, Operands operands) const;
};

nlohmann::json to_json(const Roofline& roofline);

/// Takes some hundred milliseconds. An input error on the emulator, which makes no claim about speed.
Roofline measure_roofline(Device& device);

}  // namespace quern
