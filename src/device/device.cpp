#include "quern/device.hpp"

#include <charconv>
#include <cstdlib>
#include <utility>

#include "device/factories.hpp"
#include "quern/error.hpp"

namespace quern {

const char* to_string(DeviceKind kind) noexcept {
  switch (kind) {
    case DeviceKind::cpu:
      return "cpu";
    case DeviceKind::emu:
      return "emu";
    case DeviceKind::cuda:
      break;
  }
  return "cuda";
}

Buffer::Buffer(Device& device, std::size_t bytes)
    : device_(&device), data_(device.allocate(bytes)), size_(bytes) {}

Buffer::~Buffer() {
  if (data_ != nullptr) device_->release(data_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer taken(std::move(other));
  std::swap(device_, taken.device_);
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  return *this;
}

namespace {

/// Of a device whose work is done when a call returns.
class NothingToWaitFor final : public DeviceEvent {
 public:
  void record(Stream) override {}
  void wait() override {}
};

[[noreturn]] void fail_capture(const Device& device) {
  fail_device("{}: this device records no graphs", to_string(device.info().kind));
}

}  // namespace

std::unique_ptr<DeviceEvent> Device::make_event() {
  return std::make_unique<NothingToWaitFor>();
}

void* Device::allocate_host(std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;
  void* pointer = std::aligned_alloc(kAlignment, (bytes / kAlignment + 1) * kAlignment);
  if (pointer == nullptr) fail_device("out of host memory: asked for {} bytes", bytes);
  return pointer;
}

void Device::release_host(void* pointer) noexcept {
  std::free(pointer);
}

std::unique_ptr<DeviceGraph> Device::capture(const std::function<void()>&) {
  fail_capture(*this);
}

std::unique_ptr<DeviceGraph> Device::capture_loop(const std::function<void()>&) {
  fail_capture(*this);
}

namespace {

std::unique_ptr<Device> emulator([[maybe_unused]] int threads) {
#ifdef QUERN_HAVE_EMU
  return open_emulator(threads);
#else
  fail_device("device 'emu': this build lacks the emulator");
#endif
}

std::unique_ptr<Device> cuda([[maybe_unused]] int index) {
#ifdef QUERN_HAVE_CUDA
  return open_cuda(index);
#else
  fail_device("device 'cuda': this build lacks CUDA; configure with QUERN_CUDA=ON, or use --device cpu");
#endif
}

bool cuda_present() noexcept {
#ifdef QUERN_HAVE_CUDA
  return cuda_absence() == nullptr;
#else
  return false;
#endif
}

}  // namespace

const char* gpu_absence() noexcept {
#ifdef QUERN_HAVE_CUDA
  return cuda_absence();
#else
  return nullptr;
#endif
}

std::unique_ptr<Device> open_device(std::string_view name, int threads) {
  if (threads < 0) fail_input("threads must be at least 0 (0: all cores), got {}", threads);
  if (name == "auto") return cuda_present() ? cuda(0) : open_cpu(threads);
  if (name == "cpu") return open_cpu(threads);
  if (name == "emu") return emulator(threads);
  if (name == "cuda") return cuda(0);
  if (constexpr std::string_view prefix = "cuda:"; name.starts_with(prefix)) {
    const std::string_view digits = name.substr(prefix.size());
    int index = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0) return cuda(index);
  }
  fail_input("unknown device '{}'; use auto, cpu, emu, cuda or cuda:N", name);
}

}  // namespace quern
