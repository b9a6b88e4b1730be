#include "check/fenced.hpp"

#include <algorithm>
#include <bit>

namespace quern::check {
namespace {

constexpr std::size_t kAlignment = 256;

/// No constant, so that a stray copy of one band over another shows too.
std::byte band_byte(std::size_t offset) {
  return static_cast<std::byte>(0xC3u ^ (offset * 37u));
}

std::size_t band_size(std::size_t bytes) {
  const std::size_t band = std::clamp<std::size_t>(bytes, 1024, 65536);
  return (band + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
void repeat(std::vector<std::byte>& bytes, T value) {
  for (std::size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T))
    std::memcpy(bytes.data() + i, &value, sizeof(T));
}

}  // namespace

std::vector<std::byte> poison(DType dtype, std::size_t size, Poison pattern) {
  const bool nan = pattern == Poison::quiet_nan;
  std::vector<std::byte> bytes(size, nan ? std::byte{0xA5} : std::byte{0x5A});
  switch (dtype) {
    case DType::f32:
      repeat(bytes, nan ? 0x7FD5A5A5u : 0xF15A5A5Au);
      break;
    case DType::bf16:
      repeat(bytes, static_cast<std::uint16_t>(nan ? 0x7FD5u : 0xF15Au));
      break;
    case DType::f64:
      repeat(bytes, nan ? 0x7FFDA5A5A5A5A5A5u : 0xC65A5A5A5A5A5A5Au);
      break;
    default:
      break;
  }
  return bytes;
}

bool is_poison(const HostTensor& tensor, std::size_t index, Poison pattern) {
  const std::size_t size = size_of(tensor.desc.dtype);
  const std::vector<std::byte> expected = poison(tensor.desc.dtype, size, pattern);
  return std::memcmp(tensor.bytes.data() + index * size, expected.data(), size) == 0;
}

FencedBuffer::FencedBuffer(Device& device, std::size_t bytes)
    : device_(&device), bytes_(bytes), band_(band_size(bytes)), buffer_(device, bytes + 2 * band_) {
  std::vector<std::byte> image(buffer_.size());
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = band_byte(i);
  device_->copy_to_device(buffer_.data(), image.data(), image.size(), device_->stream());
  device_->synchronize(device_->stream());
}

void FencedBuffer::write(std::span<const std::byte> content) {
  device_->copy_to_device(data(), content.data(), content.size(), device_->stream());
  device_->synchronize(device_->stream());
}

FencedBuffer::Content FencedBuffer::read() const {
  std::vector<std::byte> image(buffer_.size());
  device_->copy_to_host(image.data(), buffer_.data(), image.size(), device_->stream());
  device_->synchronize(device_->stream());
  Content content;
  const auto begin = image.begin() + static_cast<std::ptrdiff_t>(band_);
  content.payload.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes_));
  for (std::size_t i = band_; i-- > 0;)
    if (image[i] != band_byte(i)) {
      content.before = band_ - i;
      break;
    }
  for (std::size_t i = band_ + bytes_; i < image.size(); ++i)
    if (image[i] != band_byte(i)) {
      content.after = i - band_ - bytes_;
      break;
    }
  return content;
}

void ExactBuffer::write(std::span<const std::byte> content) {
  device_->copy_to_device(data(), content.data(), content.size(), device_->stream());
  device_->synchronize(device_->stream());
}

std::vector<std::byte> ExactBuffer::read() const {
  std::vector<std::byte> bytes(buffer_.size());
  device_->copy_to_host(bytes.data(), buffer_.data(), bytes.size(), device_->stream());
  device_->synchronize(device_->stream());
  return bytes;
}

}  // namespace quern::check
