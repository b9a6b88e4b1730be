#include "check/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quern/error.hpp"

namespace quern::check {
namespace {

/// Accumulates the elements of one comparison. Of several failures of one kind the worst is kept; of several
/// non-finite ones the first.
class Judge {
 public:
  explicit Judge(const Limits& limits) : limits_(limits) {}

  void element(std::size_t index, double expected, double got) {
    if (!std::isfinite(expected) || !std::isfinite(got)) {
      const bool same = std::isnan(expected) ? std::isnan(got) : expected == got;
      if (!same) fail(Fault::nonfinite, index, expected, got, 0, std::numeric_limits<double>::infinity());
      return;
    }
    const double error = std::abs(got - expected);
    const double tolerance = limits_.atol + limits_.rtol * std::abs(expected);
    squared_error_ += error * error;
    squared_expected_ += expected * expected;
    ++elements_;
    if (error == 0) return;
    const double ratio = tolerance > 0 ? error / tolerance : std::numeric_limits<double>::infinity();
    if (ratio > result_.worst) {
      result_.worst = ratio;
      result_.worst_index = index;
      result_.worst_got = got;
      result_.worst_expected = expected;
    }
    if (ratio > 1) fail(Fault::element, index, expected, got, tolerance, ratio);
  }

  Comparison finish() {
    result_.nmse = squared_expected_ > 0 ? squared_error_ / squared_expected_ : 0;
    const double floor = static_cast<double>(elements_) * std::pow(limits_.atol / 4, 2);
    const bool judged = !limits_.exact() && limits_.nmse > 0;
    if (!result_.deviation && judged && squared_error_ > limits_.nmse * squared_expected_ + floor)
      result_.deviation = Deviation{Fault::nmse, 0, result_.nmse, 0, limits_.nmse, elements_};
    return result_;
  }

 private:
  void fail(Fault fault, std::size_t index, double expected, double got, double tolerance, double ratio) {
    auto& deviation = result_.deviation;
    const bool more_serious = !deviation || fault < deviation->fault;
    const bool worse = deviation && fault == deviation->fault && fault == Fault::element && ratio > ratio_;
    const std::size_t count = deviation ? deviation->count + 1 : 1;
    if (more_serious || worse) {
      deviation = Deviation{fault, index, got, expected, tolerance, count};
      ratio_ = ratio;
    }
    deviation->count = count;
  }

  Limits limits_;
  Comparison result_;
  double squared_error_ = 0, squared_expected_ = 0;
  std::size_t elements_ = 0;
  double ratio_ = 0;
};

}  // namespace

Comparison compare(const HostTensor& expected, const HostTensor& got, const Limits& limits) {
  QUERN_REQUIRE(expected.desc.shape == got.desc.shape, "comparing {} with {}", to_string(expected.desc),
                to_string(got.desc));
  Judge judge(limits);
  for (std::size_t i = 0; i < static_cast<std::size_t>(expected.elements()); ++i)
    judge.element(i, expected.value(i), got.value(i));
  return judge.finish();
}

ArgmaxComparison compare_argmax(const ArgmaxContext& context, const HostTensor& expected,
                                const HostTensor& got) {
  const auto& attrs = context.desc.as<BatchNormAttrs>();
  const Window& window = attrs.window;
  const Shape& in = context.x.desc.shape;
  const Shape& out = expected.desc.shape;
  const std::span<const float> z = context.z.as<float>(), x = context.x.as<float>(),
                               gamma = context.gamma.as<float>();
  ArgmaxComparison result;
  const auto fail = [&](std::size_t index, double wanted, double found) {
    auto& deviation = result.comparison.deviation;
    if (!deviation) deviation = Deviation{Fault::element, index, found, wanted, 0, 0};
    ++deviation->count;
    result.comparison.worst = std::numeric_limits<double>::infinity();
  };
  std::size_t index = 0;
  for (std::int64_t n = 0; n < out[0]; ++n)
    for (std::int64_t p = 0; p < out[1]; ++p)
      for (std::int64_t q = 0; q < out[2]; ++q)
        for (std::int64_t c = 0; c < out[3]; ++c, ++index) {
          /// Flat index in the image of slot `slot` of this window, or nothing for padding.
          const auto locate = [&](int slot) -> std::optional<std::size_t> {
            const std::int64_t h = p * window.stride_h - window.pad_top + slot / window.s;
            const std::int64_t w = q * window.stride_w - window.pad_left + slot % window.s;
            if (slot >= window.r * window.s || h < 0 || h >= in[1] || w < 0 || w >= in[2])
              return std::nullopt;
            return static_cast<std::size_t>(((n * in[1] + h) * in[2] + w) * in[3] + c);
          };
          const int wanted = expected.as<std::uint8_t>()[index];
          const int found = got.as<std::uint8_t>()[index];
          const auto winner = locate(wanted);
          QUERN_REQUIRE(winner.has_value(), "the reference's argmax {} lies outside its window", wanted);
          const auto rectified = [&](std::size_t i) {
            const double value = static_cast<double>(z[i]);
            return attrs.relu ? std::max(value, 0.0) : value;
          };
          const double top = rectified(*winner);
          const double slack =
              2 * (context.z_limits.atol + context.z_limits.rtol * std::abs(static_cast<double>(z[*winner])));
          bool clear = true;
          for (int slot = 0; slot < window.r * window.s && clear; ++slot) {
            const auto rival = locate(slot);
            if (!rival || slot == wanted) continue;
            const bool tied = x[*rival] == x[*winner] || gamma[static_cast<std::size_t>(c)] == 0;
            // Both far below zero: the ReLU ties them for everybody.
            const bool both_off = attrs.relu && static_cast<double>(z[*rival]) < -slack &&
                                  static_cast<double>(z[*winner]) < -slack;
            clear =
                tied || both_off || static_cast<double>(z[*rival]) < static_cast<double>(z[*winner]) - slack;
          }
          result.clear += clear ? 1 : 0;
          if (found == wanted) continue;
          const auto chosen = locate(found);
          if (clear || !chosen || rectified(*chosen) < top - slack) fail(index, wanted, found);
        }
  return result;
}

std::string coordinates(const Shape& shape, std::size_t index) {
  std::array<std::int64_t, Shape::kMaxRank> position{};
  auto rest = static_cast<std::int64_t>(index);
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    position[static_cast<std::size_t>(axis)] = rest % shape[axis];
    rest /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(position.begin(), position.begin() + shape.rank(), ","));
}

}  // namespace quern::check
