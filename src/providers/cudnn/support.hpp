#pragma once

/// What the provider's files share: registration, common refusals, workspace layout.

#include <fmt/format.h>

#include <cstddef>

#include "providers/cudnn/context.hpp"
#include "quern/implementation.hpp"

namespace quern::cudnn {

/// Parts of a workspace, each aligned to 256 bytes.
class WorkspaceLayout {
 public:
  std::size_t add(std::size_t bytes) {
    const std::size_t at = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return at;
  }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

inline void* at(void* workspace, std::size_t offset) {
  return static_cast<std::byte*>(workspace) + offset;
}

struct Entry {
  const char* name;
  OpKey op;
  /// From the description alone.
  std::function<Refusal(const OpDesc&, const DeviceInfo&)> refusal;
  std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare;
  /// What only the library knows: asked on a GPU that is here, after `refusal`. None if left empty.
  std::function<Refusal(const OpDesc&, const DeviceInfo&)> library = {};
};

/// Adds the entry for CUDA. On a GPU that is here it also refuses where cuDNN does not load or start.
void add_entry(Registry& registry, Entry entry);

/// Extents and strides are ints in cuDNN's older API; bf16 wants all activations in bf16, on sm_80 or later.
Refusal common_refusal(const OpDesc& desc, const DeviceInfo& device);

/// An Executable class constructed from (desc, device).
template <class E>
std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare_as() {
  return [](const OpDesc& desc, Device& device) -> std::unique_ptr<Executable> {
    return std::make_unique<E>(desc, device);
  };
}

// One function an op stem, in a file of its name.
void add_conv2d(Registry& registry);
void add_batchnorm(Registry& registry);
void add_pooling(Registry& registry);
void add_relu(Registry& registry);

}  // namespace quern::cudnn
