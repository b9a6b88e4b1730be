#include "quern/device.hpp"

#include <gmock/gmock.h>
#include <omp.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "quern/error.hpp"

namespace quern {
namespace {

using ::testing::HasSubstr;

template <class F>
void expect_error(ErrorKind kind, const char* part, const F& function) {
  try {
    function();
    ADD_FAILURE() << "no error, expected one with " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(CpuDevice, TellsWhatItIs) {
  const int before = omp_get_max_threads();
  const auto device = open_device("cpu");
  EXPECT_EQ(device->info().kind, DeviceKind::cpu);
  EXPECT_FALSE(device->info().name.empty());
  EXPECT_EQ(device->info().threads, before);
  EXPECT_GT(device->info().memory_bytes, std::size_t{1} << 20);
  EXPECT_EQ(device->info().sm, 0);
}

TEST(CpuDevice, TakesTheThreadsItIsGiven) {
  const int before = omp_get_max_threads();
  EXPECT_EQ(open_device("cpu", 3)->info().threads, 3);
  EXPECT_EQ(omp_get_max_threads(), 3);
  omp_set_num_threads(before);
}

TEST(CpuDevice, BuffersAreAlignedOwnedAndMovable) {
  const auto device = open_device("cpu");
  for (const std::size_t bytes : {0, 1, 255, 256, 257, 5000}) {
    Buffer buffer(*device, bytes);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
  }
  Buffer a(*device, 100);
  const void* address = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), address);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): a moved-from buffer is empty
  EXPECT_EQ(a.size(), 0u);
  b = Buffer(*device, 7);
  EXPECT_EQ(b.size(), 7u);
  b = Buffer();
  EXPECT_FALSE(b);
}

TEST(CpuDevice, CopiesAndFills) {
  const auto device = open_device("cpu");
  const Stream stream = device->stream();
  std::vector<std::uint8_t> host(100), back(100);
  std::iota(host.begin(), host.end(), std::uint8_t{1});
  Buffer a(*device, 100), b(*device, 100);
  device->fill(b.data(), 0xAB, 100, stream);
  device->copy_to_device(a.data(), host.data(), 100, stream);
  device->copy_on_device(b.data(), a.bytes() + 10, 50, stream);
  device->copy_to_host(back.data(), b.data(), 100, stream);
  device->synchronize(stream);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(back[i], i < 50 ? host[i + 10] : 0xAB);
}

TEST(CpuDevice, RefusesMoreThanTheMachineHas) {
  const auto device = open_device("cpu");
  expect_error(ErrorKind::device, "asked for", [&] { Buffer(*device, SIZE_MAX - 1000); });
  expect_error(ErrorKind::device, "are free", [&] { Buffer(*device, device->info().memory_bytes + 1); });
}

TEST(OpenDevice, RefusesUnknownNames) {
  for (const char* name :
       {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cpu:0", "cuda:99999999999"})
    expect_error(ErrorKind::input, "use auto, cpu, emu, cuda or cuda:N", [&] { open_device(name); });
  expect_error(ErrorKind::input, "threads", [] { open_device("cpu", -1); });
}

TEST(OpenDevice, AGpuThatIsNotThereIsADeviceError) {
  expect_error(ErrorKind::device, "", [] { open_device("cuda:4095"); });
}

TEST(OpenDevice, AutoIsNeverTheEmulator) {
  EXPECT_NE(open_device("auto")->info().kind, DeviceKind::emu);
}

}  // namespace
}  // namespace quern
