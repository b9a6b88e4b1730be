// What every implementation of the provider promises of a run: no allocation, the same bits again, all
// operations served, reasons where it refuses, NaN kept.

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "check/descs.hpp"
#include "quern/error.hpp"
#include "tests/onednn/harness.hpp"

namespace {
std::atomic<long> allocations{0};
}
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCountsAllocations = false;  // the sanitizer has its own malloc
#else
constexpr bool kCountsAllocations = true;
// All of C++'s and libgomp's allocations come through here.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* malloc(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
}
#endif

namespace quern::testing {
namespace {

using namespace quern::check;

/// One description of every operation, with what can be fused.
std::vector<OpDesc> one_of_each() {
  std::vector<OpDesc> list;
  InputBatchAttrs input;
  list.push_back(input_batch_desc({20, 9, 9, 1}, 20, 6, input));
  input.augment = {2, 15, 0.1f, 5, 1.5f, 4, 0.5f, 2};
  list.push_back(input_batch_desc({20, 9, 9, 1}, 20, 6, input));
  Conv2dAttrs conv;
  conv.window = {3, 3, 1, 1, 1, 1, 1, 1};
  conv.bias = conv.relu = conv.stats = conv.mask = true;
  DenseAttrs dense{true, true, true, true};
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    list.push_back(conv2d_desc(direction, {6, 14, 14, 32, 64}, conv));
    list.push_back(conv2d_desc(direction, {6, 28, 28, 1, 32}, conv));
    list.push_back(dense_desc(direction, 30, 300, 50, dense));
  }
  BatchNormAttrs norm;
  norm.relu = norm.mask = true;
  for (const bool pool : {false, true}) {
    norm.pool = pool;
    norm.window = {2, 2, 2, 2};
    for (const Direction direction : {Direction::forward, Direction::inference, Direction::backward})
      list.push_back(batchnorm_desc(direction, {6, 15, 15, 37}, norm));
  }
  Pool2dAttrs pool;
  pool.window = {3, 3, 2, 2, 1, 1, 1, 1};
  pool.save_argmax = pool.mask = true;
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    list.push_back(relu_desc(direction, {40000}));
    list.push_back(dropout_desc(direction, {40000}, {0.3f, 5}));
    list.push_back(pool2d_desc(OpKind::maxpool2d, direction, {6, 15, 15, 37}, pool));
    list.push_back(pool2d_desc(OpKind::avgpool2d, direction, {6, 15, 15, 37}, pool));
    list.push_back(global_avgpool_desc(direction, {6, 15, 15, 37}, {true}));
  }
  list.push_back(add_desc({40000}, {true}));
  list.push_back(softmax_xent_desc(400, 10, {0.1f, true, 0.5f}));
  list.push_back(metrics_desc(40, 10));
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                                   OptimizerKind::adam, OptimizerKind::adamw}) {
    OptimizerAttrs attrs;
    attrs.kind = kind;
    attrs.weight_decay = 0.01f;
    attrs.clip_norm = 1;
    attrs.segments = {{0, 100, false}, {128, 39000, true}};
    list.push_back(optimizer_desc(40000, attrs));
  }
  list.push_back(ema_desc(40000));
  return list;
}

bool is_primitive(const Implementation& implementation) {
  return implementation.name == "nhwc" || implementation.name == "inner_product";
}

TEST(OnednnProvider, ServesEveryOperation) {
  for (const OpKey& op : all_operations())
    EXPECT_FALSE(onednn_registry().candidates(op).empty()) << to_string(op);
  for (const OpDesc& desc : one_of_each()) EXPECT_NO_THROW(first_choice(desc)) << describe(desc);
}

TEST(OnednnProvider, AllocatesNothingInARun) {
  if constexpr (kCountsAllocations) {
    for (const OpDesc& desc : one_of_each()) {
      for (const Implementation& candidate : onednn_registry().candidates(desc.op)) {
        // The library's own execute() makes a map of its arguments.
        if (candidate.refusal(desc, DeviceInfo{}) || is_primitive(candidate)) continue;
        Call run(desc, candidate, 2);
        run.fill(1).run();
        const long before = allocations.load();
        run.repeat();
        EXPECT_EQ(allocations.load() - before, 0) << candidate.full_name() << ": " << describe(desc);
      }
    }
  } else {
    GTEST_SKIP() << "the sanitizer has its own malloc";
  }
}

TEST(OnednnProvider, GivesTheSameBitsAgain) {
  for (const OpDesc& desc : one_of_each()) {
    for (const Implementation& candidate : onednn_registry().candidates(desc.op)) {
      if (candidate.refusal(desc, DeviceInfo{})) continue;
      for (const int threads : {1, 2, 3}) {
        const auto first = Call(desc, candidate, threads).fill(1).run().output_bytes();
        const auto second = Call(desc, candidate, threads).fill(1).run().output_bytes();
        EXPECT_TRUE(first == second) << candidate.full_name() << " on " << threads << ": " << describe(desc);
      }
    }
  }
}

TEST(OnednnProvider, RefusesOtherPrecisionsWithTheReason) {
  OpDesc desc = dense_desc(Direction::forward, 4, 8, 8, {});
  desc.precision = Precision::tf32;
  for (const Implementation& candidate : onednn_registry().candidates(desc.op))
    EXPECT_EQ(candidate.refusal(desc, DeviceInfo{}).value_or(""), "computes in fp32 only, not tf32");
}

TEST(OnednnRelu, KeepsNan) {
  for (const onednn::Isa isa : machine_isas()) {
    const ScopedIsa scoped(isa);
    const OpDesc desc = relu_desc(Direction::forward, {37});
    Call run(desc, first_choice(desc));
    run.set("x", [](std::size_t i) {
      return i % 3 == 0 ? std::numeric_limits<float>::quiet_NaN() : i % 3 == 1 ? -1.0f : 2.0f;
    });
    run.run();
    for (std::size_t i = 0; i < 37; ++i) {
      const float y = run.operand("y")[i];
      if (i % 3 == 0)
        EXPECT_TRUE(std::isnan(y));
      else
        EXPECT_EQ(y, i % 3 == 1 ? 0.0f : 2.0f);
    }
  }
}

TEST(OnednnMaxPool, TheFirstNanWinsAndTiesGoToTheFirst) {
  Pool2dAttrs attrs;
  attrs.window = {2, 2, 2, 2};
  attrs.save_argmax = true;
  const OpDesc desc = pool2d_desc(OpKind::maxpool2d, Direction::forward, {1, 2, 2, 19}, attrs);
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const float windows[4][4] = {{1, nan, nan, 5}, {2, 3, 3, 1}, {-inf, -inf, -inf, -inf}, {0, 0, 0, 7}};
  const int expected[4] = {1, 1, 0, 3};
  for (const onednn::Isa isa : machine_isas()) {
    const ScopedIsa scoped(isa);
    Call run(desc, first_choice(desc));
    run.set("x", [&](std::size_t i) { return windows[i % 19 % 4][i / 19]; }).run();
    for (std::size_t c = 0; c < 19; ++c)
      EXPECT_EQ(run.operand<std::uint8_t>("argmax")[c], expected[c % 4]) << c;
  }
}

TEST(OnednnSoftmax, ALabelThatIsNoClassGivesNan) {
  const OpDesc desc = softmax_xent_desc(1, 5, {0, true, 1});
  Call run(desc, first_choice(desc));
  run.fill(1);
  run.operand<std::int32_t>("labels")[0] = 5;
  run.run();
  EXPECT_TRUE(std::isnan(run.operand("loss")[0]));
}

TEST(OnednnSoftmax, IsAccurateWhereTheNetworkIsSureAndRight) {
  const OpDesc desc = softmax_xent_desc(1, 3, {0, true, 1});
  for (const onednn::Isa isa : machine_isas()) {
    const ScopedIsa scoped(isa);
    Call run(desc, first_choice(desc));
    run.set("logits", [](std::size_t i) { return i == 1 ? 20.0f : 0.0f; });
    run.operand<std::int32_t>("labels")[0] = 1;
    run.run();
    const double others = 2 * std::exp(-20.0);
    EXPECT_NEAR(static_cast<double>(run.operand("loss")[0]), std::log1p(others), 1e-6 * others);
    EXPECT_NEAR(static_cast<double>(run.operand("dlogits")[1]), -others / (1 + others), 1e-6 * others);
  }
}

TEST(OnednnInputBatch, RefusesAnIndexOutsideTheSet) {
  const OpDesc desc = input_batch_desc({4, 3, 3, 1}, 5, 2, {});
  Call run(desc, first_choice(desc));
  run.operand<std::uint32_t>("order")[1] = 4;
  EXPECT_THROW(run.run(), Error);
  run.operand<std::uint32_t>("order")[1] = 3;
  EXPECT_NO_THROW(run.run());
  StepScalars step;
  step.order_offset = 4;
  EXPECT_THROW(run.set_step(step).run(), Error);
}

TEST(OnednnIsa, LevelsAreWhatTheyAreCalled) {
  std::vector<int> lanes;
  for (const onednn::Isa isa : machine_isas()) {
    const ScopedIsa scoped(isa);
    lanes.push_back(onednn::kernels().lanes);
  }
  EXPECT_EQ(lanes.front(), 4);
  for (std::size_t i = 1; i < lanes.size(); ++i) EXPECT_EQ(lanes[i], 2 * lanes[i - 1]);
  EXPECT_STREQ(to_string(onednn::Isa::avx2), "avx2");
}

}  // namespace
}  // namespace quern::testing
