#include "providers/onednn/moments.hpp"

#include <algorithm>

namespace quern::onednn {

namespace {

constexpr int kMaxLanes = 16;

struct Offsets {
  std::size_t count, mean, m2, shift, sum, sum_squares, bytes;
};

Offsets offsets(int channels) {
  const auto padded = static_cast<std::size_t>(round_up(channels, kMaxLanes));
  Layout layout;
  Offsets o{};
  o.count = layout.add<double>(1);
  o.mean = layout.add<double>(padded);
  o.m2 = layout.add<double>(padded);
  o.shift = layout.add<float>(padded);
  o.sum = layout.add<float>(padded);
  o.sum_squares = layout.add<float>(padded);
  o.bytes = layout.bytes();
  return o;
}

}  // namespace

std::size_t Moments::bytes(int channels) {
  return offsets(channels).bytes;
}

Moments::Moments(void* memory, int channels) noexcept : channels_(channels) {
  const Offsets o = offsets(channels);
  count_ = at<double>(memory, o.count);
  mean_ = at<double>(memory, o.mean);
  m2_ = at<double>(memory, o.m2);
  shift_ = at<float>(memory, o.shift);
  sum_ = at<float>(memory, o.sum);
  sum_squares_ = at<float>(memory, o.sum_squares);
}

void Moments::reset() noexcept {
  const auto padded = static_cast<std::size_t>(round_up(channels_, kMaxLanes));
  *count_ = 0;
  std::fill_n(mean_, padded, 0.0);
  std::fill_n(m2_, padded, 0.0);
  std::fill_n(shift_, padded, 0.0f);
  std::fill_n(sum_, padded, 0.0f);
  std::fill_n(sum_squares_, padded, 0.0f);
}

void Moments::attach(Epilogue& epilogue) const noexcept {
  epilogue.shift = shift_;
  epilogue.sum = sum_;
  epilogue.sum_squares = sum_squares_;
}

void Moments::commit(std::int64_t rows) noexcept {
  const auto block = static_cast<double>(rows);
  const double before = *count_, total = before + block;
  for (int c = 0; c < channels_; ++c) {
    const double s1 = static_cast<double>(sum_[c]), s2 = static_cast<double>(sum_squares_[c]);
    const double offset = s1 / block;
    const double block_mean = static_cast<double>(shift_[c]) + offset;
    const double spread = s2 - s1 * offset;
    const double delta = block_mean - mean_[c];
    // Not std::max: a NaN must stay one.
    m2_[c] += (spread < 0 ? 0 : spread) + delta * delta * (before * block / total);
    mean_[c] += delta * (block / total);
    shift_[c] = static_cast<float>(mean_[c]);
    sum_[c] = 0;
    sum_squares_[c] = 0;
  }
  *count_ = total;
}

void Moments::add(const Kernels& kernels, const float* x, std::int64_t rows) noexcept {
  for (std::int64_t row = 0; row < rows; row += kBlockRows)
    add_block(kernels, x + row * channels_, std::min(kBlockRows, rows - row));
}

void Moments::add_block(const Kernels& kernels, const float* x, std::int64_t rows) noexcept {
  ChannelSums sums;
  sums.x = x;
  sums.rows = rows;
  sums.channels = channels_;
  sums.sum = sum_;
  sums.sum_squares = sum_squares_;
  if (empty()) {
    kernels.channel_sums(sums);
    for (int c = 0; c < channels_; ++c) {
      shift_[c] = sum_[c] / static_cast<float>(rows);
      sum_[c] = 0;
    }
  }
  sums.shift = shift_;
  kernels.channel_sums(sums);
  commit(rows);
}

Moments::Result Moments::combine(void* memory, std::size_t step, int parts, int channels,
                                 std::int64_t c) noexcept {
  double count = 0, mean = 0, m2 = 0;
  for (int part = 0; part < parts; ++part) {
    const Moments moments(at<std::byte>(memory, step * static_cast<std::size_t>(part)), channels);
    const double n = *moments.count_;
    if (n == 0) continue;
    const double delta = moments.mean_[c] - mean;
    m2 += moments.m2_[c] + delta * delta * (count * n / (count + n));
    mean += delta * (n / (count + n));
    count += n;
  }
  return {mean, m2 / count};
}

void write_stats(void* memory, std::size_t step, int parts, int channels, Range range,
                 float* stats) noexcept {
  for (std::int64_t c = range.begin; c < range.end; ++c) {
    const auto [mean, variance] = Moments::combine(memory, step, parts, channels, c);
    stats[c] = static_cast<float>(mean);
    stats[channels + c] = static_cast<float>(variance);
  }
}

}  // namespace quern::onednn
