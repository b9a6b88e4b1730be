#pragma once

/// Event files as TensorBoard reads them: records of the TFRecord format, each an Event message. Sources:
/// https://www.tensorflow.org/tutorials/load_data/tfrecord (the framing),
/// https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/event.proto and
/// https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/summary.proto (the
/// messages).

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "io/protobuf.hpp"
#include "quern/image.hpp"

namespace quern {

/// CRC-32C (Castagnoli), rotated and shifted by a constant as the framing wants it.
std::uint32_t masked_crc32c(std::string_view bytes);

class EventFile {
 public:
  /// Makes events.out.tfevents.<seconds>.quern in the folder. For a run that goes on, `step` is where:
  /// TensorBoard forgets what older files of the folder say about steps from there on. Throws a device error
  /// if it cannot write.
  EventFile(const std::filesystem::path& folder, double wall_time, std::int64_t step);

  void scalar(const char* tag, double value, std::int64_t step, double wall_time);
  /// Counts in 30 buckets of equal width; nothing for no values.
  void histogram(const std::string& tag, std::span<const float> values, std::int64_t step, double wall_time);
  void image(const std::string& tag, const RgbImage& image, std::int64_t step, double wall_time);
  /// Throws a device error if anything since the last call could not be written.
  void flush();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void summary(const ProtoMessage& value, std::int64_t step, double wall_time);
  void record(const ProtoMessage& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace quern
