// Softmax, cross-entropy and its gradient, one row at a time.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"

namespace quern::onednn::QUERN_ISA {

namespace {

/// e^v for v <= 0, within 2 ulp; 0 below -87.3, where the result would be subnormal; NaN stays NaN.
/// Cody-Waite reduction to |r| <= ln(2) / 2 and the Taylor polynomial of degree 7.
QUERN_INLINE Vec exponential(Vec v) {
  const Vec clamped = v < -87.3f ? splat(-87.3f) : v;
  // Rounds to nearest: adding 1.5 * 2^23 leaves the integer in the low bits.
  const Vec shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const Vec n = shifted - 12582912.0f;
  const Vec r = (clamped - n * 0.693359375f) + n * 2.12194440054690583e-4f;
  Vec poly = splat(1.0f / 5040.0f);
  poly = poly * r + 1.0f / 720.0f;
  poly = poly * r + 1.0f / 120.0f;
  poly = poly * r + 1.0f / 24.0f;
  poly = poly * r + 1.0f / 6.0f;
  poly = poly * r + 0.5f;
  poly = poly * r + 1.0f;
  poly = poly * r + 1.0f;
  const IntVec exponent = ((IntVec)shifted - 0x4B400000 + 127) << 23;
  return v < -87.3f ? Vec{} : poly * (Vec)exponent;
}

QUERN_INLINE IntVec iota() {
  IntVec v{};
  QUERN_UNROLL
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

QUERN_INLINE double sum_lanes(DoubleVec v) {
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += v[lane];
  return total;
}

void softmax_row(const SoftmaxXent& a, const float* z, int32_t label, float* loss, float* out) {
  const int classes = a.classes;
  float largest = z[0];
  for (int c = 1; c < classes; ++c) largest = z[c] > largest ? z[c] : largest;
  // The label is kept apart: softmax - 1 and log(sum) would cancel where the network is sure and right.
  DoubleVec others_sum{}, shifted_sum{};
  for_each_vector(classes, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
    constexpr bool kTail = decltype(tail)::value;
    const IntVec index = iota() + c;
    const IntVec present = index < classes;
    const Vec shifted = load_lanes<kTail>(z + c, lanes) - largest;
    const Vec e = exponential(shifted);
    others_sum += __builtin_convertvector((index != label) & present ? e : Vec{}, DoubleVec);
    if (a.smoothing > 0) shifted_sum += __builtin_convertvector(present ? shifted : Vec{}, DoubleVec);
    if (out != nullptr) store_lanes<kTail>(out + c, e, lanes);
  });
  const bool valid = label >= 0 && label < classes;
  const float label_shifted = valid ? z[label] - largest : __builtin_nanf("");
  const auto label_term = static_cast<double>(exponential(splat(label_shifted))[0]);
  const double others = sum_lanes(others_sum), sum = others + label_term;
  const double log_sum = label_term == 1.0 ? __builtin_log1p(others) : __builtin_log(sum);
  const double smooth = static_cast<double>(a.smoothing), count = classes;
  double value = log_sum - (1.0 - smooth) * static_cast<double>(label_shifted);
  if (a.smoothing > 0) value -= smooth * sum_lanes(shifted_sum) / count;
  *loss = static_cast<float>(value);
  if (out == nullptr) return;
  const auto inverse = static_cast<float>(1.0 / sum);
  const auto base = static_cast<float>(smooth / count);
  for_each_vector(classes, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
    constexpr bool kTail = decltype(tail)::value;
    store_lanes<kTail>(out + c, (load_lanes<kTail>(out + c, lanes) * inverse - base) * a.gradient_scale,
                       lanes);
  });
  // softmax - (1 - s) - s / C with softmax = 1 - others / sum
  if (valid)
    out[label] =
        static_cast<float>((smooth - smooth / count - others / sum) * static_cast<double>(a.gradient_scale));
}

}  // namespace

void softmax_xent(const SoftmaxXent& a) {
  for (int row = 0; row < a.rows; ++row) {
    const std::ptrdiff_t at = std::ptrdiff_t{row} * a.classes;
    softmax_row(a, a.logits + at, a.labels[row], a.loss + row,
                a.dlogits != nullptr ? a.dlogits + at : nullptr);
  }
}

}  // namespace quern::onednn::QUERN_ISA
