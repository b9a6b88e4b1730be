// The emulator as a device: memory that is fenced, poisoned and known by its bounds.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "quern/device.hpp"
#include "quern/error.hpp"
#include "simt/memory.hpp"
#include "simt/simt.hpp"
#ifdef QUERN_HAVE_CUDA
#include "device/factories.hpp"
#endif

namespace quern {
namespace {

class EmulatorDevice : public ::testing::Test {
 protected:
  void TearDown() override { simt::set_config(simt::Config{}); }
  std::unique_ptr<Device> device_ = open_device("emu", 3);
};

template <class Action>
void expect_device_error(const Action& action, const char* part) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST_F(EmulatorDevice, SaysWhatItIs) {
  const DeviceInfo& info = device_->info();
  EXPECT_EQ(info.kind, DeviceKind::emu);
  EXPECT_EQ(info.threads, 3);
  EXPECT_EQ(simt::config().workers, 3);
  EXPECT_GE(info.sm, 80);
  EXPECT_EQ(info.shared_memory_per_block, simt::config().shared_bytes);
}

TEST_F(EmulatorDevice, MemoryIsNotANumberUntilWritten) {
  const Buffer buffer(*device_, 1000);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
  std::vector<float> values(250);
  device_->copy_to_host(values.data(), buffer.data(), 1000, {});
  for (const float value : values) ASSERT_TRUE(std::isnan(value));
  device_->fill(buffer.data(), 0, 1000, {});
  device_->copy_to_host(values.data(), buffer.data(), 1000, {});
  for (const float value : values) ASSERT_EQ(value, 0.0f);
}

TEST_F(EmulatorDevice, CopiesStayInside) {
  const Buffer a(*device_, 64), b(*device_, 64);
  std::vector<std::byte> host(200);
  expect_device_error([&] { device_->copy_to_device(a.data(), host.data(), 65, {}); }, "65 bytes");
  expect_device_error([&] { device_->copy_to_host(host.data(), a.bytes() + 60, 5, {}); }, "5 bytes");
  expect_device_error([&] { device_->copy_on_device(a.data(), b.bytes() - 1, 2, {}); }, "source");
  expect_device_error([&] { device_->copy_on_device(a.bytes() + 63, b.data(), 2, {}); }, "destination");
  expect_device_error([&] { device_->fill(host.data(), 0, 8, {}); }, "fill");
  EXPECT_NO_THROW(device_->copy_to_device(a.bytes() + 60, host.data(), 4, {}));
  EXPECT_NO_THROW(device_->copy_to_device(a.bytes() + 64, host.data(), 0, {}));
  expect_device_error([&] { device_->allocate(std::size_t{1} << 60); }, "out of memory");
}

TEST_F(EmulatorDevice, EmptyAllocationsAreDistinct) {
  const Buffer a(*device_, 0), b(*device_, 0);
  EXPECT_NE(a.data(), b.data());
  EXPECT_NO_THROW(device_->copy_to_device(a.data(), nullptr, 0, {}));
}

#if !defined(__SANITIZE_ADDRESS__)  // which stops at the first byte
TEST_F(EmulatorDevice, GuardZonesTellOfOverruns) {
  const Buffer buffer(*device_, 100);
  EXPECT_FALSE(simt::check_guards().has_value());
  buffer.bytes()[103] = std::byte{1};
  EXPECT_EQ(simt::check_guards().value_or(""), "a write 3 bytes past the end of an allocation of 100 bytes");
  EXPECT_FALSE(simt::check_guards().has_value()) << "reported once";
  buffer.bytes()[-7] = std::byte{1};
  EXPECT_EQ(simt::check_guards().value_or(""), "a write 7 bytes below an allocation of 100 bytes");
}
#endif

TEST_F(EmulatorDevice, KnowsWhatIsInitialised) {
  const Buffer a(*device_, 64), b(*device_, 64);
  const std::vector<std::byte> host(64, std::byte{0xff});  // the value of unwritten memory, but written
  const auto known = [](const Buffer& buffer, std::size_t offset, std::size_t count) {
    for (const simt::MemoryRange* range : simt::device_memory_ranges())
      if (range->base == buffer.bytes()) return range->is_initialised(offset, count);
    return false;
  };
  EXPECT_FALSE(known(a, 0, 1));
  device_->copy_to_device(a.bytes() + 3, host.data(), 30, {});
  EXPECT_FALSE(known(a, 2, 2));
  EXPECT_TRUE(known(a, 3, 30));
  EXPECT_FALSE(known(a, 3, 31));
  device_->copy_on_device(b.bytes() + 10, a.bytes(), 20, {});
  EXPECT_FALSE(known(b, 12, 2));
  EXPECT_TRUE(known(b, 13, 17));
  EXPECT_FALSE(known(b, 30, 1));
  simt::mark_initialised(a.bytes() + 5, 9, false);
  EXPECT_TRUE(known(a, 3, 2));
  EXPECT_FALSE(known(a, 13, 1));
  EXPECT_TRUE(known(a, 14, 19));
}

TEST_F(EmulatorDevice, HostMemoryCanBeRegistered) {
  std::vector<float> values(16);
  EXPECT_FALSE(simt::in_device_memory(values.data(), 4));
  simt::register_memory(values.data(), 64, true);
  EXPECT_TRUE(simt::in_device_memory(values.data() + 15, 4));
  EXPECT_FALSE(simt::in_device_memory(values.data() + 15, 5));
  simt::unregister_memory(values.data());
  EXPECT_FALSE(simt::in_device_memory(values.data(), 4));
}

TEST_F(EmulatorDevice, ConfigurationsHaveScopes) {
  const simt::Config before = simt::config();
  {
    simt::Config other = before;
    other.thread_order = simt::Order::random;
    const simt::ScopedConfig scope(other);
    EXPECT_EQ(simt::config().thread_order, simt::Order::random);
  }
  EXPECT_EQ(simt::config().thread_order, before.thread_order);
#if !defined(QUERN_HAVE_RACES)
  EXPECT_THROW(simt::set_race_detection(true), Error);
#endif
}

#ifdef QUERN_HAVE_CUDA
TEST(CudaDevice, AbsenceIsADeviceError) {
  const int count = cuda_device_count();
  EXPECT_GE(count, 0);
  expect_device_error([&] { open_device(fmt::format("cuda:{}", count)); }, "cuda");
  if (count == 0) {
    EXPECT_EQ(open_device("auto")->info().kind, DeviceKind::cpu);
  }
}

TEST(CudaDevice, CopiesThereAndBack) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU here";
  const auto device = open_device("cuda");
  const Buffer a(*device, 4096), b(*device, 4096);
  std::vector<unsigned char> out(4096), in(4096);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 7);
  device->copy_to_device(a.data(), in.data(), in.size(), device->stream());
  device->copy_on_device(b.data(), a.data(), in.size(), device->stream());
  device->fill(a.data(), 3, 100, device->stream());
  device->copy_to_host(out.data(), b.data(), out.size(), device->stream());
  device->synchronize(device->stream());
  EXPECT_EQ(out, in);
  EXPECT_GE(device->info().sm, 50);
}
#endif

}  // namespace
}  // namespace quern
