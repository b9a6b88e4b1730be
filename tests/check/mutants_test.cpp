// The test of the table: implementations of plausible misreadings of the contract. Each is the reference run
// on altered attributes, or with one rule broken; the table must notice, in more than one lucky case where it
// can.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "check/operands.hpp"
#include "faulty.hpp"

namespace quern::check {
namespace {

struct Mutant {
  const char* name;
  OpKey op;
  const char* cases;     ///< part of the names of the cases that must notice
  std::size_t at_least;  ///< how many of them fail
  std::function<void(OpDesc&)> alter;
};

template <class A>
std::function<void(OpDesc&)> altering(std::function<void(A&)> change) {
  return [change](OpDesc& desc) { change(std::get<A>(desc.attrs)); };
}

/// Sees one entry of the table of steps, the first.
void cut_steps(OpDesc& desc) {
  if (desc.inputs.back().shape.rank() == 2) desc.inputs.back().shape = Shape{1, sizeof(StepScalars)};
}

const Direction kF = Direction::forward, kB = Direction::backward;

std::vector<Mutant> mutants() {
  using BN = BatchNormAttrs;
  using Opt = OptimizerAttrs;
  return {
      {"conv_forgets_relu", {OpKind::conv2d, kF}, "_relu", 100, altering<Conv2dAttrs>([](auto& a) {
         a.relu = false;
       })},
      {"conv_shifts_padding", {OpKind::conv2d, kF}, "_p1.0.0.1", 8, altering<Conv2dAttrs>([](auto& a) {
         std::swap(a.window.pad_top, a.window.pad_bottom);
         std::swap(a.window.pad_left, a.window.pad_right);
       })},
      {"conv_shifts_padding_backwards",
       {OpKind::conv2d, Direction::backward_weights},
       "_p0.0.1.1",
       4,
       altering<Conv2dAttrs>([](auto& a) {
         std::swap(a.window.pad_top, a.window.pad_bottom);
         std::swap(a.window.pad_left, a.window.pad_right);
       })},
      {"dense_forgets_relu", {OpKind::dense, kF}, "_relu", 100, altering<DenseAttrs>([](auto& a) {
         a.relu = false;
       })},
      {"batchnorm_forgets_epsilon", {OpKind::batchnorm, kF}, "_eps0.1", 6, altering<BN>([](auto& a) {
         a.epsilon = 1e-12f;
       })},
      {"batchnorm_swaps_momentum", {OpKind::batchnorm, kF}, "_mom0.9", 4, altering<BN>([](auto& a) {
         a.momentum = 1 - a.momentum;
       })},
      {"batchnorm_forgets_relu", {OpKind::batchnorm, kF}, "_relu", 100, altering<BN>([](auto& a) {
         a.relu = false;
       })},
      {"batchnorm_inference_forgets_relu",
       {OpKind::batchnorm, Direction::inference},
       "_relu",
       60,
       altering<BN>([](auto& a) { a.relu = false; })},
      {"batchnorm_forgets_mask", {OpKind::batchnorm, kB}, "_mask", 80, altering<BN>([](auto& a) {
         a.mask = false;
       })},
      {"avgpool_counts_padding", {OpKind::avgpool2d, kF}, "_p1", 10, altering<Pool2dAttrs>([](auto& a) {
         a.count_include_pad = !a.count_include_pad;
       })},
      {"avgpool_counts_padding_backwards",
       {OpKind::avgpool2d, kB},
       "_p1",
       10,
       altering<Pool2dAttrs>([](auto& a) { a.count_include_pad = !a.count_include_pad; })},
      {"dropout_takes_another_stream",
       {OpKind::dropout, kF},
       "1025_p0.5",
       1,
       altering<DropoutAttrs>([](auto& a) { ++a.stream; })},
      {"dropout_cuts_its_stream_short",
       {OpKind::dropout, kF},
       "stream16777215",
       1,
       altering<DropoutAttrs>([](auto& a) { a.stream &= 0xFFFF; })},
      {"dropout_keeps_what_it_should_drop",
       {OpKind::dropout, kB},
       "_p0.25",
       4,
       altering<DropoutAttrs>([](auto& a) { a.probability = 1 - a.probability; })},
      {"add_forgets_relu", {OpKind::add, kF}, "_relu", 35, altering<AddAttrs>([](auto& a) {
         a.relu = false;
       })},
      {"xent_forgets_smoothing",
       {OpKind::softmax_xent, kF},
       "_smooth",
       70,
       altering<SoftmaxXentAttrs>([](auto& a) { a.label_smoothing = 0; })},
      {"xent_forgets_the_mean",
       {OpKind::softmax_xent, kF},
       "_grad",
       60,
       altering<SoftmaxXentAttrs>([](auto& a) { a.gradient_scale = 1; })},
      {"input_forgets_the_mean",
       {OpKind::input_batch, kF},
       "_mean0.5",
       50,
       altering<InputBatchAttrs>([](auto& a) { a.mean = 0; })},
      {"input_forgets_shear", {OpKind::input_batch, kF}, "_shear", 10, altering<InputBatchAttrs>([](auto& a) {
         a.augment.shear = 0;
       })},
      {"input_forgets_to_distort",
       {OpKind::input_batch, kF},
       "_elastic",
       10,
       altering<InputBatchAttrs>([](auto& a) { a.augment.elastic = 0; })},
      {"input_forgets_to_flip",
       {OpKind::input_batch, kF},
       "_flip",
       10,
       altering<InputBatchAttrs>([](auto& a) { a.augment.flip = 0; })},
      {"input_forgets_to_crop",
       {OpKind::input_batch, kF},
       "_crop",
       10,
       altering<InputBatchAttrs>([](auto& a) { a.augment.crop = 0; })},
      {"input_crops_by_one_less",
       {OpKind::input_batch, kF},
       "_crop2",
       5,
       altering<InputBatchAttrs>([](auto& a) { a.augment.crop = 1; })},
      {"input_erases_less", {OpKind::input_batch, kF}, "_erase9", 5, altering<InputBatchAttrs>([](auto& a) {
         a.augment.erase = 8;
       })},
      {"input_forgets_half_a_pixel",
       {OpKind::input_batch, kF},
       "_shift0.5",
       10,
       altering<InputBatchAttrs>([](auto& a) { a.augment.shift = 0; })},
      {"momentum_looks_ahead", {OpKind::optimizer, kF}, "/momentum_", 40, altering<Opt>([](auto& a) {
         a.kind = OptimizerKind::nesterov;
       })},
      {"nesterov_does_not_look_ahead", {OpKind::optimizer, kF}, "/nesterov_", 40, altering<Opt>([](auto& a) {
         a.kind = OptimizerKind::momentum;
       })},
      {"adamw_decays_like_adam", {OpKind::optimizer, kF}, "/adamw_lenet_wd", 5, altering<Opt>([](auto& a) {
         a.kind = OptimizerKind::adam;
       })},
      {"adam_decays_like_adamw", {OpKind::optimizer, kF}, "/adam_lenet_wd", 5, altering<Opt>([](auto& a) {
         a.kind = OptimizerKind::adamw;
       })},
      {"adam_moves_its_epsilon", {OpKind::optimizer, kF}, "/adam_lenet_tiny", 1, altering<Opt>([](auto& a) {
         a.epsilon *= 10;
       })},
      {"optimizer_decays_biases", {OpKind::optimizer, kF}, "_wd0.0625", 60, altering<Opt>([](auto& a) {
         for (ParamSegment& segment : a.segments) segment.decay = true;
       })},
      {"optimizer_goes_back_to_the_first_step", {OpKind::optimizer, kF}, "_advance", 40, cut_steps},
      {"ema_goes_back_to_the_first_step", {OpKind::ema, kF}, "_advance", 8, cut_steps},
      {"optimizer_forgets_clipping", {OpKind::optimizer, kF}, "_clip0.5", 60, altering<Opt>([](auto& a) {
         a.clip_norm = 0;
       })},
      {"optimizer_forgets_the_guard", {OpKind::optimizer, kF}, "_guarded_nan", 5, altering<Opt>([](auto& a) {
         a.guarded = false;
       })},
      {"guard_forgets_the_last_gradient",
       {OpKind::guard, kF},
       "_t1_",
       1,
       [](OpDesc& desc) { desc.inputs[1].shape = Shape{desc.inputs[1].shape[0] / 2 * 2}; }},
      {"optimizer_forgets_the_last_tensor",
       {OpKind::optimizer, kF},
       "/sgd_odd",
       6,
       altering<Opt>([](auto& a) { a.segments.pop_back(); })},
  };
}

class Mutants : public ::testing::TestWithParam<Mutant> {};

TEST_P(Mutants, AreNoticed) {
  const Mutant& mutant = GetParam();
  const auto body = [&](const OpDesc& desc, const RunArgs& args) {
    OpDesc altered = desc;
    mutant.alter(altered);
    right(altered, args);
  };
  const CheckReport report = check_planted(user_implementation(mutant.op, body), mutant.cases);
  EXPECT_GE(report.count(CheckStatus::fail), mutant.at_least) << "of " << report.cases;
  EXPECT_EQ(report.exit_status(), 1);
}

INSTANTIATE_TEST_SUITE_P(All, Mutants, ::testing::ValuesIn(mutants()),
                         [](const auto& test) { return test.param.name; });

/// How many cases of an operation a body fails.
std::size_t failures(OpKey op, const Body& body, const std::string& cases = "") {
  return check_planted(user_implementation(op, body), cases).count(CheckStatus::fail);
}

float* floats(void* pointer) {
  return static_cast<float*>(pointer);
}

TEST(Misreadings, LastOfTiedMaxima) {
  // Where two elements of a window tie, the later one: the reference over the windows read backwards.
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    if (args.out.size() < 2) return;
    const Window& w = desc.as<Pool2dAttrs>().window;
    const Shape& x = desc.inputs[0].shape;
    const Shape& y = desc.outputs[0].shape;
    auto* argmax = static_cast<std::uint8_t*>(args.out[1]);
    std::size_t i = 0;
    for (std::int64_t n = 0; n < y[0]; ++n)
      for (std::int64_t p = 0; p < y[1]; ++p)
        for (std::int64_t q = 0; q < y[2]; ++q)
          for (std::int64_t c = 0; c < y[3]; ++c, ++i)
            for (int slot = argmax[i] + 1; slot < w.r * w.s; ++slot) {
              const std::int64_t h = p * w.stride_h - w.pad_top + slot / w.s;
              const std::int64_t v = q * w.stride_w - w.pad_left + slot % w.s;
              if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
              if (floats(args.in[0])[((n * x[1] + h) * x[2] + v) * x[3] + c] == floats(args.out[0])[i])
                argmax[i] = static_cast<std::uint8_t>(slot);
            }
  };
  EXPECT_GE(failures({OpKind::maxpool2d, kF}, body, "_argmax"), 80u);
}

TEST(Misreadings, NanLosesInAPool) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const auto n = static_cast<std::size_t>(desc.inputs[0].elements());
    std::vector<float> x(floats(args.in[0]), floats(args.in[0]) + n);
    for (float& value : x)
      if (std::isnan(value)) value = -std::numeric_limits<float>::infinity();
    std::vector<void*> in = {x.data()};
    right(desc, {in, args.out, nullptr, {}});
  };
  EXPECT_EQ(failures({OpKind::maxpool2d, kF}, body, "_nan"), 12u);
}

TEST(Misreadings, PaddingWinsOverMinusInfinity) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    const std::int64_t n = desc.outputs[0].elements();
    for (std::int64_t i = 0; i < n; ++i)
      floats(args.out[0])[i] = std::max(floats(args.out[0])[i], std::numeric_limits<float>::lowest());
  };
  EXPECT_GE(failures({OpKind::maxpool2d, kF}, body, "_nan"), 2u);
}

TEST(Misreadings, TheLastOfTiedLogitsIsTheAnswer) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const std::int64_t samples = desc.inputs[1].shape[0], classes = desc.inputs[1].shape[1];
    auto* metrics = static_cast<Metrics*>(args.out[0]);
    const float* logits = floats(args.in[1]);
    const auto* labels = static_cast<const std::int32_t*>(args.in[2]);
    const double correct = metrics->correct;
    right(desc, args);
    metrics->correct = correct;
    for (std::int64_t n = 0; n < samples; ++n) {
      std::int64_t best = 0;
      for (std::int64_t c = 1; c < classes; ++c)
        if (logits[n * classes + c] >= logits[n * classes + best]) best = c;
      metrics->correct += best == labels[n] ? 1 : 0;
    }
  };
  EXPECT_GE(failures({OpKind::metrics, kF}, body), 25u);
}

TEST(Misreadings, VarianceInOnePass) {
  // E[x^2] - E[x]^2 in float, fed to the reference as if it were the producer's statistics.
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const std::int64_t channels = desc.inputs[1].shape[0], n = desc.inputs[0].elements();
    std::vector<float> stats(static_cast<std::size_t>(2 * channels));
    for (std::int64_t c = 0; c < channels; ++c) {
      float sum = 0, squares = 0;
      for (std::int64_t i = c; i < n; i += channels) {
        sum += floats(args.in[0])[i];
        squares += floats(args.in[0])[i] * floats(args.in[0])[i];
      }
      const float rows = static_cast<float>(n / channels), mean = sum / rows;
      stats[static_cast<std::size_t>(c)] = mean;
      stats[static_cast<std::size_t>(channels + c)] = std::max(squares / rows - mean * mean, 0.0f);
    }
    OpDesc with_stats = desc;
    std::get<BatchNormAttrs>(with_stats.attrs).stats = true;
    std::vector<void*> in(args.in.begin(), args.in.begin() + 5);
    in.push_back(stats.data());
    with_stats.inputs.resize(5);
    with_stats.inputs.push_back({DType::f32, {2, channels}});
    right(with_stats, {in, args.out, nullptr, {}});
  };
  EXPECT_GE(failures({OpKind::batchnorm, kF}, body, "_offset"), 10u);
}

TEST(Misreadings, UnbiasedVarianceIsRemembered) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const auto& attrs = desc.as<BatchNormAttrs>();
    const std::int64_t channels = desc.inputs[1].shape[0], rows = desc.inputs[0].elements() / channels;
    std::vector<float> before(floats(args.in[4]), floats(args.in[4]) + channels);
    right(desc, args);
    for (std::size_t c = 0; c < before.size(); ++c) {
      const float kept = attrs.momentum * before[c];
      floats(args.out[3])[c] = kept + (floats(args.out[3])[c] - kept) * static_cast<float>(rows) /
                                          static_cast<float>(std::max<std::int64_t>(rows - 1, 1));
    }
  };
  EXPECT_GE(failures({OpKind::batchnorm, kF}, body, "_mom0.9"), 6u);
}

TEST(Misreadings, StatisticsBeforeTheRelu) {
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    std::vector<float> y(static_cast<std::size_t>(desc.outputs[0].elements()));
    OpDesc linear = desc;
    std::get<Conv2dAttrs>(linear.attrs).relu = false;
    std::vector<void*> out = {y.data(), args.out[1]};
    right(linear, {args.in, out, nullptr, {}});
  };
  const OpKey op{OpKind::conv2d, kF};
  EXPECT_GE(failures(op, body, "n2_h3_w3_c4_k5_r3_s1_p0_relu_stats"), 1u);
  EXPECT_GE(failures(op, body, "bias_relu_stats"), 30u);
}

TEST(Misreadings, SoftmaxOverflows) {
  // A sum of exponentials whose largest is not taken out.
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    const std::int64_t samples = desc.inputs[0].shape[0], classes = desc.inputs[0].shape[1];
    for (std::int64_t n = 0; n < samples; ++n) {
      float sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(floats(args.in[0])[n * classes + c]);
      if (std::isinf(sum)) floats(args.out[0])[n] = sum;
    }
  };
  EXPECT_GE(failures({OpKind::softmax_xent, kF}, body, "_large"), 12u);
}

TEST(Misreadings, PoolingBeforeANegativeGamma) {
  // The maximum of x instead of the maximum of gamma * x + ...: right for positive gamma only.
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    const std::int64_t channels = desc.inputs[1].shape[0];
    std::vector<float> gamma(floats(args.in[1]), floats(args.in[1]) + channels);
    for (float& scale : gamma) scale = std::abs(scale);
    std::vector<void*> in(args.in.begin(), args.in.end());
    in[1] = gamma.data();
    right(desc, {in, args.out, nullptr, {}});
  };
  EXPECT_GE(failures({OpKind::batchnorm, kF}, body, "_pool_r2_s2"), 15u);
}

}  // namespace
}  // namespace quern::check
