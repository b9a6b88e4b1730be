#include "report/events.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "quern/error.hpp"

namespace quern {
namespace {

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    table[i] = crc;
  }
  return table;
}();

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = kTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

EventFile::EventFile(const std::filesystem::path& folder, double wall_time, std::int64_t step) {
  for (auto seconds = static_cast<long long>(wall_time);; ++seconds) {  // a run resumed within the second
    path_ = folder / fmt::format("events.out.tfevents.{:010}.quern", seconds);
    std::error_code ignored;
    if (!std::filesystem::exists(path_, ignored)) break;
  }
  file_.open(path_, std::ios::binary);
  ProtoMessage version;
  version.number(1, wall_time);
  version.text(3, "brain.Event:2");
  record(version);
  if (step > 0) {
    ProtoMessage start, log;
    log.integer(1, 1);  // START
    start.number(1, wall_time);
    start.integer(2, step);
    start.message(7, log);
    record(start);
  }
  flush();
}

void EventFile::scalar(const char* tag, double value, std::int64_t step, double wall_time) {
  ProtoMessage message;
  message.text(1, tag);
  message.number(2, static_cast<float>(value));
  summary(message, step, wall_time);
}

void EventFile::histogram(const std::string& tag, std::span<const float> values, std::int64_t step,
                          double wall_time) {
  if (values.empty()) return;
  constexpr int kBuckets = 30;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double low = static_cast<double>(*least), high = static_cast<double>(*most);
  const int buckets = high > low ? kBuckets : 1;
  std::vector<double> limits, counts(static_cast<std::size_t>(buckets));
  for (int i = 1; i <= buckets; ++i) limits.push_back(i == buckets ? high : low + (high - low) * i / buckets);
  double sum = 0, squares = 0;
  for (const float value : values) {
    const auto x = static_cast<double>(value);
    sum += x;
    squares += x * x;
    const int bucket = high > low ? static_cast<int>((x - low) / (high - low) * buckets) : 0;
    ++counts[static_cast<std::size_t>(std::clamp(bucket, 0, buckets - 1))];
  }
  ProtoMessage histogram, message;
  histogram.number(1, low);
  histogram.number(2, high);
  histogram.number(3, static_cast<double>(values.size()));
  histogram.number(4, sum);
  histogram.number(5, squares);
  histogram.numbers(6, limits);
  histogram.numbers(7, counts);
  message.text(1, tag);
  message.message(5, histogram);
  summary(message, step, wall_time);
}

void EventFile::image(const std::string& tag, const RgbImage& image, std::int64_t step, double wall_time) {
  const std::vector<std::byte> png = encode_png(image);
  ProtoMessage picture, message;
  picture.integer(1, image.height);
  picture.integer(2, image.width);
  picture.integer(3, 3);  // channels
  picture.text(4, {reinterpret_cast<const char*>(png.data()), png.size()});
  message.text(1, tag);
  message.message(4, picture);
  summary(message, step, wall_time);
}

void EventFile::summary(const ProtoMessage& value, std::int64_t step, double wall_time) {
  ProtoMessage summary, event;
  summary.message(1, value);
  event.number(1, wall_time);
  event.integer(2, step);
  event.message(5, summary);
  record(event);
}

void EventFile::record(const ProtoMessage& event) {
  const std::string& data = event.bytes();
  const std::uint64_t length = data.size();
  const std::uint32_t length_crc = masked_crc32c(bytes_of(length)), data_crc = masked_crc32c(data);
  file_ << bytes_of(length) << bytes_of(length_crc) << data << bytes_of(data_crc);
}

void EventFile::flush() {
  file_.flush();
  if (!file_)
    fail_device("{}: cannot be written: {}: check the disk's space and permissions", path_.string(),
                std::strerror(errno));
}

}  // namespace quern
