#pragma once

/// Tests of kernels run once for each target: the emulator, the emulator with the race detector, and a GPU
/// where the build and the machine have one (elsewhere those are skipped, never passed).

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <vector>

#include "device/factories.hpp"
#include "quern/device.hpp"
#include "simt/simt.hpp"

namespace quern::test {

enum class Target { emu, race, cuda };

inline std::ostream& operator<<(std::ostream& out, Target target) {
  return out << (target == Target::emu ? "emu" : target == Target::race ? "race" : "cuda");
}

inline std::vector<Target> targets() {
  std::vector<Target> all{Target::emu};
#if defined(QUERN_HAVE_RACES)
  all.push_back(Target::race);
#endif
#if defined(QUERN_HAVE_CUDA)
  all.push_back(Target::cuda);
#endif
  return all;
}

/// bf16 on the host: rounded to nearest, ties to even.
inline std::uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float bf16_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Device memory holding a copy of host values, and back.
template <class T>
class DeviceArray {
 public:
  DeviceArray(Device& device, const std::vector<T>& values) : DeviceArray(device, values.size()) {
    device.copy_to_device(buffer_.data(), values.data(), values.size() * sizeof(T), device.stream());
    device.synchronize(device.stream());
  }
  DeviceArray(Device& device, std::size_t count)
      : device_(device), buffer_(device, count * sizeof(T)), count_(count) {}

  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    device_.copy_to_host(values.data(), buffer_.data(), count_ * sizeof(T), device_.stream());
    device_.synchronize(device_.stream());
    return values;
  }

 private:
  Device& device_;
  Buffer buffer_;
  std::size_t count_;
};

class TargetTest : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam() == Target::cuda) {
#if defined(QUERN_HAVE_CUDA)
      if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU here";
      device_ = open_cuda(0);
#endif
      return;
    }
    device_ = open_emulator(2);
    simt::set_race_detection(GetParam() == Target::race);
  }
  void TearDown() override {
    simt::set_config(simt::Config{});
  }

  Device& device() {
    return *device_;
  }
  Stream stream() {
    return device_->stream();
  }

  template <class Args>
  using Launcher = void (*)(const Args&, Stream);

  /// The launcher of this target.
  template <class Args>
  void run(Launcher<Args> emu, Launcher<Args> race, Launcher<Args> cuda,
           const std::type_identity_t<Args>& args) {
    const Launcher<Args> launcher = GetParam() == Target::emu    ? emu
                                    : GetParam() == Target::race ? race
                                                                 : cuda;
    launcher(args, stream());
    device().synchronize(stream());
  }

 private:
  std::unique_ptr<Device> device_;
};

#if defined(QUERN_HAVE_RACES)
#define QUERN_TEST_RACE(name) &::quern::kernels::race::name
#else
#define QUERN_TEST_RACE(name) static_cast<decltype(&::quern::kernels::emu::name)>(nullptr)
#endif
#if defined(QUERN_HAVE_CUDA)
#define QUERN_TEST_CUDA(name) &::quern::kernels::cuda::name
#else
#define QUERN_TEST_CUDA(name) static_cast<decltype(&::quern::kernels::emu::name)>(nullptr)
#endif
/// In a TargetTest: launches `name` for the test's target and waits for it.
#define QUERN_RUN(name, ...) \
  run(&::quern::kernels::emu::name, QUERN_TEST_RACE(name), QUERN_TEST_CUDA(name), __VA_ARGS__)

#define QUERN_FOR_ALL_TARGETS(suite)                                                      \
  INSTANTIATE_TEST_SUITE_P(Targets, suite, ::testing::ValuesIn(::quern::test::targets()), \
                           ::testing::PrintToStringParamName())

}  // namespace quern::test
