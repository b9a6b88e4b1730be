#pragma once

/// Convolutions (and dense layers, which are convolutions of 1 x 1 images) computed in double by loops over
/// the definition, and the kernels run on the same numbers.

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/conv2d.cuh"
#include "tests/kernels/targets.hpp"

namespace quern::test {

using kernels::Conv2dShape;

/// A shape from its input and filter; P and Q follow. Padding is `pad` on every side.
inline Conv2dShape conv_shape(int n, int h, int w, int c, int k, int r, int s, int stride = 1, int pad = 0,
                              int dilation = 1, int groups = 1) {
  Conv2dShape shape;
  shape.n = n, shape.h = h, shape.w = w, shape.c = c, shape.k = k, shape.r = r, shape.s = s;
  shape.stride_h = shape.stride_w = stride;
  shape.pad_top = shape.pad_left = pad;
  shape.dilation_h = shape.dilation_w = dilation;
  shape.groups = groups;
  shape.p = (h + 2 * pad - dilation * (r - 1) - 1) / stride + 1;
  shape.q = (w + 2 * pad - dilation * (s - 1) - 1) / stride + 1;
  return shape;
}

inline std::string name_of(const Conv2dShape& s) {
  return fmt::format("n{} {}x{}x{} -> {}x{}x{}, filter {}x{} stride {}x{} dilation {} groups {}", s.n, s.h,
                     s.w, s.c, s.p, s.q, s.k, s.r, s.s, s.stride_h, s.stride_w, s.dilation_h, s.groups);
}

/// Numbers from a counter: integers in [-3, 3], or uniform in [-1, 1).
inline std::vector<float> numbers(std::size_t count, std::uint32_t stream, bool integers) {
  std::vector<float> result(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = static_cast<std::uint32_t>(i) * 2654435761u + stream * 40503u + 12345u;
    bits ^= bits >> 15, bits *= 2246822519u, bits ^= bits >> 13, bits *= 3266489917u, bits ^= bits >> 16;
    result[i] = integers ? static_cast<float>(static_cast<int>(bits % 7) - 3)
                         : static_cast<float>(bits) * 0x1p-31f - 1.0f;
  }
  return result;
}

inline float rounded_to_bf16(float value) {
  return bf16_value(bf16_bits(value));
}

/// Operands and results of all directions; everything that backward passes read is there from the start.
struct Convolution {
  Conv2dShape shape;
  std::vector<float> x, w, bias, dy;
  std::vector<double> y, stats, dx, dw, dbias;  ///< y before the ReLU; stats of what follows it

  std::size_t x_size() const { return static_cast<std::size_t>(shape.n) * shape.h * shape.w * shape.c; }
  std::size_t y_size() const { return static_cast<std::size_t>(shape.pixels()) * shape.k; }
  std::size_t w_size() const { return static_cast<std::size_t>(shape.k * shape.patch()); }

  Convolution(const Conv2dShape& s, bool integers, bool bf16_activations = false) : shape(s) {
    x = numbers(x_size(), 1, integers);
    w = numbers(w_size(), 2, integers);
    bias = numbers(static_cast<std::size_t>(s.k), 3, integers);
    dy = numbers(y_size(), 4, integers);
    if (bf16_activations) {
      for (float& v : x) v = rounded_to_bf16(v);
      for (float& v : dy) v = rounded_to_bf16(v);
    }
    compute();
  }

  void compute() {
    const Conv2dShape& s = shape;
    const int channels = s.c / s.groups, filters = s.k / s.groups;
    y.assign(y_size(), 0), dx.assign(x_size(), 0), dw.assign(w_size(), 0);
    dbias.assign(static_cast<std::size_t>(s.k), 0);
    for (int n = 0; n < s.n; ++n)
      for (int p = 0; p < s.p; ++p)
        for (int q = 0; q < s.q; ++q)
          for (int k = 0; k < s.k; ++k) {
            const std::size_t at_y = static_cast<std::size_t>(((n * s.p + p) * s.q + q) * s.k + k);
            double sum = static_cast<double>(bias[static_cast<std::size_t>(k)]);
            const double g = static_cast<double>(dy[at_y]);
            dbias[static_cast<std::size_t>(k)] += g;
            for (int r = 0; r < s.r; ++r)
              for (int t = 0; t < s.s; ++t) {
                const int h = p * s.stride_h - s.pad_top + r * s.dilation_h;
                const int v = q * s.stride_w - s.pad_left + t * s.dilation_w;
                if (h < 0 || h >= s.h || v < 0 || v >= s.w) continue;
                for (int c = 0; c < channels; ++c) {
                  const auto at_x =
                      static_cast<std::size_t>(((n * s.h + h) * s.w + v) * s.c + k / filters * channels + c);
                  const auto at_w = static_cast<std::size_t>(((k * s.r + r) * s.s + t) * channels + c);
                  sum += static_cast<double>(x[at_x]) * static_cast<double>(w[at_w]);
                  dx[at_x] += g * static_cast<double>(w[at_w]);
                  dw[at_w] += g * static_cast<double>(x[at_x]);
                }
              }
            y[at_y] = sum;
          }
  }

  /// Mean and biased variance of every channel of `values`, in two passes.
  static std::vector<double> stats_of(const std::vector<float>& values, int channels) {
    std::vector<double> stats(2 * static_cast<std::size_t>(channels));
    const std::size_t k = static_cast<std::size_t>(channels), rows = values.size() / k;
    for (std::size_t c = 0; c < k; ++c) {
      for (std::size_t i = 0; i < rows; ++i) stats[c] += static_cast<double>(values[i * k + c]);
      stats[c] /= static_cast<double>(rows);
      for (std::size_t i = 0; i < rows; ++i)
        stats[k + c] += std::pow(static_cast<double>(values[i * k + c]) - stats[c], 2);
      stats[k + c] /= static_cast<double>(rows);
    }
    return stats;
  }
};

/// How much an element may be off: |got - expected| <= atol + rtol * |expected|.
struct Tolerance {
  double atol = 0, rtol = 0;
};

inline void expect_near(const std::vector<float>& got, const std::vector<double>& expected,
                        Tolerance tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(std::abs(static_cast<double>(got[i]) - expected[i]) <=
                tolerance.atol + tolerance.rtol * std::abs(expected[i]))
        << what << ": element " << i << " is " << got[i] << ", expected " << expected[i];
}

/// An activation on the device, in either type.
class Activation {
 public:
  Activation(Device& device, const std::vector<float>& values, bool bf16) : bf16_(bf16) {
    if (!bf16) {
      wide_.emplace_back(device, values);
      return;
    }
    std::vector<std::uint16_t> bits;
    for (const float value : values) bits.push_back(bf16_bits(value));
    narrow_.emplace_back(device, bits);
  }
  Activation(Device& device, std::size_t count, bool bf16) : bf16_(bf16) {
    if (bf16)
      narrow_.emplace_back(device, count);
    else
      wide_.emplace_back(device, count);
  }
  void* data() const {
    return bf16_ ? static_cast<void*>(narrow_[0].data()) : static_cast<void*>(wide_[0].data());
  }
  std::vector<float> host() const {
    if (!bf16_) return wide_[0].host();
    std::vector<float> values;
    for (const std::uint16_t bits : narrow_[0].host()) values.push_back(bf16_value(bits));
    return values;
  }

 private:
  bool bf16_;
  std::vector<DeviceArray<float>> wide_;  // one or none
  std::vector<DeviceArray<std::uint16_t>> narrow_;
};

/// Workspace and counters of a launch. The counters must be zero again afterwards.
class Scratch {
 public:
  Scratch(Device& device, std::size_t workspace_bytes, std::size_t counters)
      : workspace_(device, workspace_bytes / sizeof(float)),
        counters_(device, std::vector<unsigned>(counters, 0)) {}
  float* workspace() const { return workspace_.data(); }
  unsigned* counters() const { return counters_.data(); }
  void expect_counters_zero() const {
    for (const unsigned counter : counters_.host()) ASSERT_EQ(counter, 0u) << "a counter was left behind";
  }

 private:
  DeviceArray<float> workspace_;
  DeviceArray<unsigned> counters_;
};

/// One implementation of the three directions.
struct Variant {
  const char* name;
  bool bf16;
  Tolerance random;  ///< for operands in [-1, 1), times sqrt of the number of products in a sum
  template <class Args>
  using Run = std::function<void(const Args&)>;
  Run<kernels::Conv2dForwardArgs> forward;
  Run<kernels::Conv2dBackwardDataArgs> backward_data;
  Run<kernels::Conv2dBackwardWeightsArgs> backward_weights;
  Run<kernels::Conv2dBackwardArgs> backward;  ///< none where there is no launch for both
  bool direct = false;                        ///< sizes its workspace as the direct kernels do
};

/// Cuts to try: every tile, whole and split in two and in more than eight (which merge in two levels).
inline std::vector<kernels::GemmPlan> plans(bool aligned, std::int64_t depth) {
  using kernels::GemmTile;
  std::vector<kernels::GemmPlan> result;
  for (const GemmTile tile : {GemmTile::m32n32, GemmTile::m64n32, GemmTile::m64n64, GemmTile::m128n64}) {
    if (!aligned && tile != GemmTile::m32n32) continue;
    for (const int splits : {1, 2, 11})
      if (splits == 1 || kernels::ceil_div(depth, 32) >= splits) result.push_back({tile, splits});
  }
  return result;
}

class ProductTest : public TargetTest {
 protected:
  struct Forward {
    std::vector<float> y, stats;
  };
  Forward forward(const Variant& variant, const Convolution& c, kernels::GemmPlan plan, bool bias, bool relu,
                  bool stats) {
    const Activation x(device(), c.x, variant.bf16), y(device(), c.y_size(), variant.bf16);
    const DeviceArray<float> w(device(), c.w), b(device(), c.bias), s(device(), 2 * c.bias.size());
    kernels::Conv2dForwardArgs args;
    args.shape = c.shape;
    args.x = x.data(), args.w = w.data(), args.y = y.data();
    args.bias = bias ? b.data() : nullptr;
    args.stats = stats ? s.data() : nullptr;
    args.relu = relu, args.with_stats = stats;
    args.x_bf16 = args.y_bf16 = variant.bf16;
    args.plan = plan;
    const Scratch scratch(
        device(), variant.direct ? conv2d_forward_direct_workspace(args) : conv2d_forward_workspace(args),
        variant.direct ? conv2d_forward_direct_counters(args) : conv2d_forward_counters(args));
    args.workspace = scratch.workspace(), args.counters = scratch.counters();
    variant.forward(args);
    scratch.expect_counters_zero();
    return {y.host(), stats ? s.host() : std::vector<float>()};
  }

  std::vector<float> backward_data(const Variant& variant, const Convolution& c, kernels::GemmPlan plan,
                                   bool mask) {
    const Activation dy(device(), c.dy, variant.bf16), x(device(), c.x, variant.bf16);
    const Activation dx(device(), c.x_size(), variant.bf16);
    const DeviceArray<float> w(device(), c.w);
    kernels::Conv2dBackwardDataArgs args;
    args.shape = c.shape;
    args.dy = dy.data(), args.w = w.data(), args.dx = dx.data();
    args.x = mask ? x.data() : nullptr;
    args.dy_bf16 = args.dx_bf16 = args.x_bf16 = variant.bf16;
    args.plan = plan;
    const Scratch scratch(device(), variant.direct ? 0 : conv2d_backward_data_workspace(args),
                          variant.direct ? 0 : conv2d_backward_data_counters(args));
    args.workspace = scratch.workspace(), args.counters = scratch.counters();
    variant.backward_data(args);
    scratch.expect_counters_zero();
    return dx.host();
  }

  struct Weights {
    std::vector<float> dw, dbias;
  };
  Weights backward_weights(const Variant& variant, const Convolution& c, kernels::GemmPlan plan, bool bias) {
    const Activation dy(device(), c.dy, variant.bf16), x(device(), c.x, variant.bf16);
    const DeviceArray<float> dw(device(), c.w_size()), dbias(device(), c.bias.size());
    kernels::Conv2dBackwardWeightsArgs args;
    args.shape = c.shape;
    args.dy = dy.data(), args.x = x.data(), args.dw = dw.data();
    args.dbias = bias ? dbias.data() : nullptr;
    args.with_bias = bias;
    args.dy_bf16 = args.x_bf16 = variant.bf16;
    args.plan = plan;
    const Scratch scratch(device(),
                          variant.direct ? conv2d_backward_weights_direct_workspace(args)
                                         : conv2d_backward_weights_workspace(args),
                          variant.direct ? conv2d_backward_weights_direct_counters(args)
                                         : conv2d_backward_weights_counters(args));
    args.workspace = scratch.workspace(), args.counters = scratch.counters();
    variant.backward_weights(args);
    scratch.expect_counters_zero();
    return {dw.host(), bias ? dbias.host() : std::vector<float>()};
  }

  struct Gradients {
    std::vector<float> dx;
    Weights weights;
  };
  /// Both gradients by one launch. The plans have the same tile.
  Gradients backward(const Variant& variant, const Convolution& c, kernels::GemmPlan data_plan,
                     kernels::GemmPlan weights_plan, bool mask, bool bias) {
    const Activation dy(device(), c.dy, variant.bf16), x(device(), c.x, variant.bf16);
    const Activation dx(device(), c.x_size(), variant.bf16);
    const DeviceArray<float> w(device(), c.w), dw(device(), c.w_size()), dbias(device(), c.bias.size());
    kernels::Conv2dBackwardArgs args;
    args.data.shape = args.weights.shape = c.shape;
    args.data.dy = args.weights.dy = dy.data();
    args.data.w = w.data(), args.data.dx = dx.data();
    args.data.x = mask ? x.data() : nullptr, args.masked = mask;
    args.weights.x = x.data(), args.weights.dw = dw.data();
    args.weights.dbias = bias ? dbias.data() : nullptr, args.weights.with_bias = bias;
    args.data.dy_bf16 = args.data.dx_bf16 = args.data.x_bf16 = variant.bf16;
    args.weights.dy_bf16 = args.weights.x_bf16 = variant.bf16;
    args.data.plan = data_plan, args.weights.plan = weights_plan;
    const Scratch scratch(device(), conv2d_backward_workspace(args), conv2d_backward_counters(args));
    args.workspace = scratch.workspace(), args.counters = scratch.counters();
    variant.backward(args);
    scratch.expect_counters_zero();
    return {dx.host(), {dw.host(), bias ? dbias.host() : std::vector<float>()}};
  }

  /// One launch for both gradients gives the very bits of a launch for each, whatever the cuts.
  void check_backward_pairs(const Variant& variant, const Conv2dShape& shape) {
    const int chunk = variant.bf16 ? 8 : 4;
    const Convolution c(shape, false, variant.bf16);
    const auto problem_d = conv2d_backward_data_problem(shape, chunk);
    const auto problem_w = conv2d_backward_weights_problem(shape, chunk);
    bool option = false;
    for (const kernels::GemmPlan data : plans(problem_d.aligned && problem_w.aligned, problem_d.depth))
      for (const kernels::GemmPlan weights : plans(problem_d.aligned && problem_w.aligned, problem_w.depth)) {
        if (data.tile != weights.tile) continue;
        option = !option;
        const std::string what = fmt::format("{}, {}, {} and {} splits", variant.name, name_of(shape),
                                             data.splits, weights.splits);
        const Gradients both = backward(variant, c, data, weights, option, option);
        ASSERT_EQ(both.dx, backward_data(variant, c, data, option)) << what;
        const Weights alone = backward_weights(variant, c, weights, option);
        ASSERT_EQ(both.weights.dw, alone.dw) << what;
        ASSERT_EQ(both.weights.dbias, alone.dbias) << what;
      }
  }

  /// All directions against the definition. Integer operands must give the very number, rounded once where
  /// results are stored as bf16.
  void check(const Variant& variant, const Convolution& c, kernels::GemmPlan forward_plan,
             kernels::GemmPlan data_plan, kernels::GemmPlan weights_plan, bool integers, bool options) {
    const std::string what =
        fmt::format("{}, {}, {}", variant.name, name_of(c.shape), integers ? "integers" : "random");
    const auto tolerance = [&](double products) {
      const double scale = std::sqrt(products);
      return integers ? Tolerance{} : Tolerance{variant.random.atol * scale, variant.random.rtol};
    };
    const auto stored = [&](std::vector<double> values) {
      if (variant.bf16 && integers)
        for (double& v : values) v = static_cast<double>(rounded_to_bf16(static_cast<float>(v)));
      return values;
    };
    if (variant.forward) {
      std::vector<double> y = c.y;
      for (std::size_t i = 0; i < y.size(); ++i) {
        if (!options) y[i] -= static_cast<double>(c.bias[i % c.bias.size()]);
        if (options) y[i] = std::max(y[i], 0.0);
      }
      const Forward got = forward(variant, c, forward_plan, options, options, options);
      expect_near(got.y, stored(y), tolerance(static_cast<double>(c.shape.patch())), what + ", y");
      if (options) {
        double largest = 1;
        for (const float v : got.y) largest = std::max(largest, std::abs(static_cast<double>(v)));
        expect_near(got.stats, Convolution::stats_of(got.y, c.shape.k), {2e-6 * largest * largest, 2e-6},
                    what + ", stats");
      }
    }
    if (variant.backward_data) {
      std::vector<double> dx = c.dx;
      for (std::size_t i = 0; i < dx.size(); ++i)
        if (options && !(c.x[i] > 0)) dx[i] = 0;
      expect_near(backward_data(variant, c, data_plan, options), stored(dx),
                  tolerance(static_cast<double>(c.shape.k) * c.shape.r * c.shape.s), what + ", dx");
    }
    if (variant.backward_weights) {
      const Weights got = backward_weights(variant, c, weights_plan, options);
      expect_near(got.dw, c.dw, tolerance(static_cast<double>(c.shape.pixels())), what + ", dw");
      if (options)
        expect_near(got.dbias, c.dbias, tolerance(static_cast<double>(c.shape.pixels())), what + ", dbias");
    }
  }

  /// `check` with every plan of every direction.
  void check_all_plans(const Variant& variant, const Conv2dShape& shape, bool integers) {
    const int chunk = variant.bf16 ? 8 : 4;
    const Convolution c(shape, integers, variant.bf16);
    const auto problem_f = conv2d_forward_problem(shape, chunk);
    const auto problem_d = conv2d_backward_data_problem(shape, chunk);
    const auto problem_w = conv2d_backward_weights_problem(shape, chunk);
    const auto f = plans(problem_f.aligned, problem_f.depth), d = plans(problem_d.aligned, problem_d.depth),
               w = plans(problem_w.aligned, problem_w.depth);
    const std::size_t most = std::max({f.size(), d.size(), w.size()});
    for (std::size_t i = 0; i < most; ++i) {
      check(variant, c, f[i % f.size()], d[i % d.size()], w[i % w.size()], integers, i % 2 == 0);
      if (HasFatalFailure()) return;
    }
  }

  // fp32: rounding of each product and sum; tf32: 2^-11 an operand; bf16: 2^-9, and once more where stored.
  Variant fp32() {
    return {"fp32",
            false,
            {1e-6, 1e-5},
            [this](auto& a) { QUERN_RUN(conv2d_forward_fp32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_data_fp32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_weights_fp32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_fp32, a); }};
  }
  Variant tf32() {
    return {"tf32",
            false,
            {1e-3, 1e-3},
            [this](auto& a) { QUERN_RUN(conv2d_forward_tf32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_data_tf32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_weights_tf32, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_tf32, a); }};
  }
  Variant bf16() {
    return {"bf16",
            true,
            {4e-3, 8e-3},
            [this](auto& a) { QUERN_RUN(conv2d_forward_bf16, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_data_bf16, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_weights_bf16, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_bf16, a); }};
  }
  Variant general(bool bf16_activations) {
    return {"general",
            bf16_activations,
            bf16_activations ? Tolerance{4e-3, 8e-3} : Tolerance{1e-6, 1e-5},
            [this](auto& a) { QUERN_RUN(conv2d_forward_general, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_data_general, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_weights_general, a); },
            {}};
  }
  Variant direct(bool bf16_activations) {
    return {"direct",
            bf16_activations,
            bf16_activations ? Tolerance{4e-3, 8e-3} : Tolerance{1e-6, 1e-5},
            [this](auto& a) { QUERN_RUN(conv2d_forward_direct, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_data_direct, a); },
            [this](auto& a) { QUERN_RUN(conv2d_backward_weights_direct, a); },
            {},
            true};
  }
};

}  // namespace quern::test
