#pragma once

/// One description of a kernel makes its entries in the tables: for the emulator always, for CUDA where the
/// build has it.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernels/dataset.hpp"
#include "quern/error.hpp"
#include "quern/implementation.hpp"
#include "simt/simt.hpp"

namespace quern {

/// The same launcher for each target; null where the build lacks one.
template <class Args>
struct Launchers {
  using Function = void (*)(const Args&, Stream);
  Function emu = nullptr;
  Function race = nullptr;
  Function cuda = nullptr;

  Function select(DeviceKind device) const noexcept {
    if (device == DeviceKind::cuda) return cuda;
    return simt::race_detection() ? race : emu;
  }
};
template <class Args>
Launchers(void (*)(const Args&, Stream), void (*)(const Args&, Stream), void (*)(const Args&, Stream))
    -> Launchers<Args>;

#if defined(QUERN_HAVE_RACES)
#define QUERN_RACE_LAUNCHER(name) &::quern::kernels::race::name
#else
#define QUERN_RACE_LAUNCHER(name) static_cast<decltype(&::quern::kernels::emu::name)>(nullptr)
#endif
#if defined(QUERN_HAVE_CUDA)
#define QUERN_CUDA_LAUNCHER(name) &::quern::kernels::cuda::name
#else
#define QUERN_CUDA_LAUNCHER(name) static_cast<decltype(&::quern::kernels::emu::name)>(nullptr)
#endif
/// QUERN_LAUNCHERS(relu_forward): the launchers that QUERN_DECLARE_LAUNCHER declared.
#define QUERN_LAUNCHERS(name)                                                          \
  ::quern::Launchers {                                                                 \
    &::quern::kernels::emu::name, QUERN_RACE_LAUNCHER(name), QUERN_CUDA_LAUNCHER(name) \
  }

template <class Args>
struct KernelEntry {
  std::string name;  ///< without the provider: "vector"
  OpKey op;
  bool exact = true;    ///< see Implementation::exact
  bool merges = false;  ///< see Implementation::merges
  /// Why the kernel does not serve this operation on this device, or nothing. `device.sm` and, for
  /// instructions that are not emulated, `device.kind` may be looked at.
  std::function<Refusal(const OpDesc&, const DeviceInfo&)> refusal;
  Launchers<Args> launchers;
  /// Shapes and choices, once: everything in Args but the addresses.
  std::function<Args(const OpDesc&, const DeviceInfo&)> plan;
  /// The addresses, before every launch.
  std::function<void(Args&, const RunArgs&)> bind;
  /// Kernels that the launcher launches for this operation; one if left empty.
  std::function<int(const OpDesc&)> launches = {};
  /// Bytes of workspace for these arguments; none if left empty.
  std::function<std::size_t(const Args&)> workspace = {};
  /// Counters for blocks that wait for each other's results: how many `Args::counters`, an `unsigned*`, must
  /// point to. They are zero before the first launch, and every launch leaves them zero. They belong to one
  /// executable, whose launches must follow each other. None if left empty.
  std::function<std::size_t(const Args&)> counters = {};
};

template <class Args>
class KernelExecutable final : public Executable {
 public:
  KernelExecutable(const KernelEntry<Args>& entry, const OpDesc& desc, Device& device)
      : device_(device.info().kind),
        launchers_(entry.launchers),
        bind_(entry.bind),
        args_(entry.plan(desc, device.info())),
        workspace_bytes_(entry.workspace ? entry.workspace(args_) : 0) {
    const std::size_t counters = entry.counters ? entry.counters(args_) : 0;
    if constexpr (requires(Args & args, unsigned* pointer) { args.counters = pointer; }) {
      if (counters == 0) return;
      counters_ = Buffer(device, counters * sizeof(unsigned));
      device.fill(counters_.data(), 0, counters_.size(), device.stream());
      device.synchronize(device.stream());
      args_.counters = static_cast<unsigned*>(counters_.data());
    } else {
      QUERN_REQUIRE(counters == 0, "{}: the arguments have no place for counters", entry.name);
    }
  }

  std::size_t workspace_bytes() const override { return workspace_bytes_; }

  void run(const RunArgs& run) override {
    bind_(args_, run);
    launchers_.select(device_)(args_, run.stream);
  }

 private:
  DeviceKind device_;
  Launchers<Args> launchers_;
  std::function<void(Args&, const RunArgs&)> bind_;
  Args args_;
  std::size_t workspace_bytes_;
  Buffer counters_;
};

/// Adds the entry for every device that this build can run it on.
template <class Args>
void add_kernel(Registry& registry, KernelEntry<Args> entry) {
  const auto shared = std::make_shared<const KernelEntry<Args>>(std::move(entry));
  const auto add_for = [&](DeviceKind device) {
    Implementation implementation;
    implementation.name = shared->name;
    implementation.provider = Provider::custom;
    implementation.op = shared->op;
    implementation.device = device;
    implementation.exact = shared->exact;
    implementation.merges = shared->merges;
    implementation.refusal = shared->refusal;
    if (shared->launches)
      implementation.launches = [shared](const OpDesc& desc, const DeviceInfo&) {
        return shared->launches(desc);
      };
    implementation.prepare = [shared](const OpDesc& desc, Device& on) -> std::unique_ptr<Executable> {
      return std::make_unique<KernelExecutable<Args>>(*shared, desc, on);
    };
    registry.add(std::move(implementation));
  };
  if (shared->launchers.cuda != nullptr) add_for(DeviceKind::cuda);
  add_for(DeviceKind::emu);
}

/// The operand at `slot` as the kernel wants it.
template <class T>
const T* input(const RunArgs& args, std::size_t slot) {
  return static_cast<const T*>(args.in[slot]);
}
template <class T>
T* output(const RunArgs& args, std::size_t slot) {
  return static_cast<T*>(args.out[slot]);
}

/// The dataset, its order and the step that stand at `slot` and behind it.
inline kernels::Dataset dataset(const RunArgs& args, std::size_t slot) {
  return {input<std::uint8_t>(args, slot), input<std::uint32_t>(args, slot + 1),
          input<StepScalars>(args, slot + 2)};
}

/// The type of the first activation that `desc` has (the slots of quern/op.hpp that bf16 may stand in): f32
/// or bf16.
DType activation_type(const OpDesc& desc);
/// The refusal of kernels that are compiled for each type of activations, but not for mixtures.
Refusal needs_one_type(const OpDesc& desc, const DeviceInfo& device);

// One function an op stem, in a file of its name.
void add_add(Registry& registry);
void add_avgpool2d(Registry& registry);
void add_batchnorm(Registry& registry);
void add_conv2d(Registry& registry);
void add_dense(Registry& registry);
void add_dropout(Registry& registry);
void add_ema(Registry& registry);
void add_global_avgpool(Registry& registry);
void add_guard(Registry& registry);
void add_input_batch(Registry& registry);
void add_maxpool2d(Registry& registry);
void add_metrics(Registry& registry);
void add_optimizer(Registry& registry);
void add_relu(Registry& registry);
void add_softmax_xent(Registry& registry);

}  // namespace quern
