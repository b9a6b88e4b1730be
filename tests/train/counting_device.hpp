#pragma once

/// A device that passes everything on to another one and counts the calls.

#include <memory>
#include <utility>

#include "quern/device.hpp"

namespace quern::test {

struct CallCounts {
  int allocations = 0, host_allocations = 0, copies = 0, fills = 0, synchronizations = 0;
};

class CountingDevice final : public Device {
 public:
  explicit CountingDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  CallCounts counts;

  const DeviceInfo& info() const noexcept override { return device_->info(); }
  void* allocate(std::size_t bytes) override {
    ++counts.allocations;
    return device_->allocate(bytes);
  }
  void release(void* pointer) noexcept override { device_->release(pointer); }
  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) override {
    ++counts.copies;
    device_->copy_to_device(device, host, bytes, stream);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) override {
    ++counts.copies;
    device_->copy_to_host(host, device, bytes, stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) override {
    ++counts.copies;
    device_->copy_on_device(to, from, bytes, stream);
  }
  void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream stream) override {
    ++counts.fills;
    device_->fill(pointer, value, bytes, stream);
  }
  void synchronize(Stream stream) override {
    ++counts.synchronizations;
    device_->synchronize(stream);
  }
  Stream stream() noexcept override { return device_->stream(); }
  void* allocate_host(std::size_t bytes) override {
    ++counts.host_allocations;
    return device_->allocate_host(bytes);
  }
  void release_host(void* pointer) noexcept override { device_->release_host(pointer); }

 private:
  std::unique_ptr<Device> device_;
};

}  // namespace quern::test
