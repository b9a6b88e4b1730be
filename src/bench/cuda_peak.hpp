#pragma once

/// Kernels that do arithmetic and nothing else, for a GPU's roofline.

#include <cstdint>

#include "quern/device.hpp"

namespace quern::bench {

enum class PeakKind : std::uint8_t { ffma, mma_tf32, mma_bf16 };

/// Launches one on the stream and returns the floating-point operations it will do. `sink` is one float that
/// is not written.
double launch_peak(PeakKind kind, const DeviceInfo& device, float* sink, Stream stream);

/// Keeps the stream busy for about so long: what is enqueued meanwhile then follows without waiting for the
/// host.
void launch_delay(double microseconds, Stream stream);

}  // namespace quern::bench
