#pragma once

/// One function per kind of device. Which of them a build has is told by QUERN_HAVE_EMU and QUERN_HAVE_CUDA.

#include <memory>

#include "quern/device.hpp"
#include "quern/timeline.hpp"

namespace quern {

/// `threads` = 0 takes OpenMP's default. The count becomes OpenMP's for the calling thread, so that every
/// provider on this device computes with the same number.
std::unique_ptr<Device> open_cpu(int threads);

/// The SIMT emulator, with `threads` workers (0: OpenMP's default).
std::unique_ptr<Device> open_emulator(int threads);

/// The CUDA device with this ordinal; throws a device error when there is none.
std::unique_ptr<Device> open_cuda(int index);

/// make_timeline() of a CUDA device.
std::unique_ptr<Timeline> make_cuda_timeline(Device& device);

/// How many CUDA devices this machine has; 0 without a driver. Never throws.
int cuda_device_count() noexcept;

/// Why this machine has no CUDA device that this program can use, for people; null where it has one. Never
/// throws.
const char* cuda_absence() noexcept;

/// The same for a build without CUDA, where it is no news.
const char* gpu_absence() noexcept;

}  // namespace quern
