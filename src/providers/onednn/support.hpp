#pragma once

/// What the provider's files share: workspace layout, common refusals, registration.

#include <cstddef>
#include <memory>
#include <utility>

#include "providers/onednn/isa.hpp"
#include "providers/onednn/threads.hpp"
#include "quern/implementation.hpp"

namespace quern::onednn {

/// Offsets into a workspace, each on its own cache lines.
class Layout {
 public:
  template <class T>
  std::size_t add(std::size_t count) {
    const std::size_t at = bytes_;
    bytes_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t kAlignment = 128;
  std::size_t bytes_ = 0;
};

template <class T>
T* at(void* workspace, std::size_t offset) noexcept {
  return reinterpret_cast<T*>(static_cast<std::byte*>(workspace) + offset);
}

template <class T = float>
const T* input(const RunArgs& args, std::size_t slot) noexcept {
  return static_cast<const T*>(args.in[slot]);
}
template <class T = float>
T* output(const RunArgs& args, std::size_t slot) noexcept {
  return static_cast<T*>(args.out[slot]);
}

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}

/// The provider's threads, for chains.
void run_team(int parts, int phases, const std::function<void(int part, int phase)>& phase);

/// An executable that can be a link of a chain. Run as a whole it goes through the same phases.
class ImageExecutable : public Executable, public ImageWise {
 public:
  ImageExecutable(int parts, std::int64_t images) : parts_(parts), images_(images) {}
  void run(const RunArgs& args) final;
  ImageWise* image_wise() override { return this; }
  Team team() const final { return run_team; }
  int parts() const final { return parts_; }
  std::int64_t images() const final { return images_; }

 protected:
  /// What a part does of a run as a whole. Images need not be a multiple of parts there, so that work may be
  /// dealt out in smaller pieces.
  virtual void run_share(const RunArgs& args, int part) {
    const Range own = share(images_, part, parts_);
    run_images(args, part, own.begin, own.end);
  }

  const int parts_;
  const std::int64_t images_;
};

/// Full precision and operands whose extents fit in 32 bits: what every implementation here needs.
Refusal common_refusal(const OpDesc& desc);

using RefusalFunction = Refusal (*)(const OpDesc&);

/// Adds an implementation whose refusal depends on the description alone, after common_refusal(). `exact`:
/// see Implementation::exact.
void add_implementation(Registry& registry, const char* name, OpKey op, RefusalFunction refusal,
                        std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare,
                        bool exact = true);

inline Refusal never_refuses(const OpDesc&) {
  return std::nullopt;
}

/// The parts to deal an operation out to: the device's threads, or 1 when it is too small to wake them.
int parts_for(const OpDesc& desc, const Device& device);

/// An Executable class constructed from (desc, parts).
template <class E>
std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare_as() {
  return [](const OpDesc& desc, Device& device) -> std::unique_ptr<Executable> {
    return std::make_unique<E>(desc, parts_for(desc, device));
  };
}

// One function per file adds its implementations, best first within an operation.
void add_winograd(Registry& registry);
void add_direct(Registry& registry);
void add_primitive(Registry& registry);
void add_dense(Registry& registry);
void add_batchnorm(Registry& registry);
void add_pooling(Registry& registry);
void add_pointwise(Registry& registry);
void add_loss(Registry& registry);
void add_guard(Registry& registry);
void add_update(Registry& registry);
void add_input_batch(Registry& registry);

}  // namespace quern::onednn
