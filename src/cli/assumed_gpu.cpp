#include "cli/assumed_gpu.hpp"

#include <vector>

#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern::cli {
namespace {

/// Compute capability, multiprocessors of a typical card, and the most shared memory a block may use. Source:
/// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", and NVIDIA's data sheets.
struct AssumedGpu {
  const char* name;
  int sm, multiprocessors;
  std::size_t shared_memory_per_block;
};
constexpr AssumedGpu kAssumedGpus[] = {
    {"sm_75", 75, 40, 64 * 1024},      // T4
    {"sm_80", 80, 108, 163 * 1024},    // A100
    {"sm_86", 86, 84, 99 * 1024},      // A40
    {"sm_89", 89, 142, 99 * 1024},     // L40S
    {"sm_90", 90, 132, 227 * 1024},    // H100, H200
    {"sm_100", 100, 148, 227 * 1024},  // B200
    {"sm_120", 120, 170, 99 * 1024},   // RTX 5090
};

}  // namespace

std::vector<std::string> assumed_gpu_names() {
  std::vector<std::string> names;
  for (const AssumedGpu& gpu : kAssumedGpus) names.emplace_back(gpu.name);
  return names;
}

DeviceInfo assumed_device(const std::string& text) {
  const std::vector<std::string> names = assumed_gpu_names();
  for (const AssumedGpu& gpu : kAssumedGpus) {
    if (text != gpu.name) continue;
    DeviceInfo info;
    info.kind = DeviceKind::cuda;
    info.present = false;
    info.name = fmt::format("an assumed GPU of {}", gpu.name);
    info.sm = gpu.sm;
    info.multiprocessors = gpu.multiprocessors;
    info.shared_memory_per_block = gpu.shared_memory_per_block;
    return info;
  }
  fail_input("--assume {}: choose one of {}{}", text, fmt::join(names, ", "), did_you_mean(text, names));
}

}  // namespace quern::cli
