// The table itself: what it promises to cover.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "check/case.hpp"
#include "check/descs.hpp"
#include "check/operands.hpp"

namespace quern::check {
namespace {

TEST(Table, HasThousandsOfCasesWithUniqueNames) {
  std::set<std::string> names;
  for (const Case& c : all_cases()) EXPECT_TRUE(names.insert(c.name).second) << c.name;
  EXPECT_GE(names.size(), 5000u);
}

TEST(Table, NamesBeginWithTheirOperation) {
  for (const Case& c : all_cases()) EXPECT_TRUE(c.name.starts_with(to_string(c.desc.op) + "/")) << c.name;
}

TEST(Table, EveryOperationHasCases) {
  std::map<OpKey, int> count;
  for (const Case& c : all_cases()) ++count[c.desc.op];
  for (const OpKey& op : all_operations()) EXPECT_GE(count[op], 30) << to_string(op);
}

// A name is a seed and what people repeat a failure with: these may never change their meaning.
TEST(Table, NamesAreStable) {
  std::set<std::string> names;
  for (const Case& c : all_cases()) names.insert(c.name);
  for (const char* name :
       {"conv2d.forward/n2_h28_w28_c1_k32_r3_s1_p1_bias_relu_stats",
        "conv2d.backward_data/n1_h14_w14_c32_k64_r3_s1_p1_mask",
        "conv2d.backward_weights/n2_h28_w28_c16_k32_r3_s2_p0.0.1.1", "dense.forward/n2_c3136_k128_bias_relu",
        "batchnorm.forward/n1_h28_w28_c32_relu_pool_r2_s2_p0", "batchnorm.backward/n4_h6_w6_c8_constant",
        "maxpool2d.backward/n1_h14_w14_c64_r2_s2_p0_mask", "optimizer.forward/adamw_lenet_wd0.0625_clip0.5",
        "softmax_xent.forward/n64_c10_smooth0.1_grad",
        "input_batch.forward/m40_h28_w28_c1_l100_n16_mean0_std1_all"})
    EXPECT_TRUE(names.count(name)) << name;
  EXPECT_EQ(hash_name("conv2d.forward"), 0xb17cda964cb0a382u);
}

TEST(Table, CasesAreSmall) {
  double total = 0;
  for (const Case& c : all_cases()) {
    const double flops = cost(c.desc).flops;
    EXPECT_LE(flops, c.desc.op.direction == Direction::backward ? 130e6 : 65e6) << c.name;  // two products
    total += flops;
  }
  EXPECT_LE(total, 3e9);
}

/// Combinations of attributes that occur among an operation's cases.
template <class F>
std::set<std::string> combinations(OpKey op, F describe) {
  std::set<std::string> found;
  for (const Case& c : all_cases())
    if (c.desc.op == op) found.insert(describe(c.desc));
  return found;
}

TEST(Table, CoversEveryCombinationOfFusions) {
  const auto product = [](const auto& a) {
    return fmt::format("{:d}{:d}{:d}{:d}", a.bias, a.relu, a.stats, a.mask);
  };
  for (const OpKind kind : {OpKind::conv2d, OpKind::dense}) {
    const auto describe = [&](const OpDesc& d) {
      return kind == OpKind::conv2d ? product(d.as<Conv2dAttrs>()) : product(d.as<DenseAttrs>());
    };
    EXPECT_EQ(combinations({kind, Direction::forward}, describe).size(), 8u);
    EXPECT_EQ(combinations({kind, Direction::backward_data}, describe).size(), 2u);
    EXPECT_EQ(combinations({kind, Direction::backward_weights}, describe).size(), 2u);
    EXPECT_EQ(combinations({kind, Direction::backward}, describe).size(), 4u);
  }
  const auto batchnorm = [](const OpDesc& d) {
    const auto& a = d.as<BatchNormAttrs>();
    return fmt::format("{:d}{:d}{:d}{:d}", a.relu, a.stats, a.mask, a.pool);
  };
  EXPECT_EQ(combinations({OpKind::batchnorm, Direction::forward}, batchnorm).size(), 8u);
  EXPECT_EQ(combinations({OpKind::batchnorm, Direction::inference}, batchnorm).size(), 4u);
  EXPECT_EQ(combinations({OpKind::batchnorm, Direction::backward}, batchnorm).size(), 8u);
  const auto optimizer = [](const OpDesc& d) {
    const auto& a = d.as<OptimizerAttrs>();
    return fmt::format("{}{:d}{:d}{:d}", to_string(a.kind), a.weight_decay > 0, a.clip_norm > 0, a.advance);
  };
  EXPECT_EQ(combinations({OpKind::optimizer, Direction::forward}, optimizer).size(), 30u);
  const auto average = [](const OpDesc& d) {
    const auto& a = d.as<Pool2dAttrs>();
    return fmt::format("{:d}{:d}", a.count_include_pad, a.mask);
  };
  EXPECT_EQ(combinations({OpKind::avgpool2d, Direction::backward}, average).size(), 4u);
  const auto augment = [](const OpDesc& d) {
    const auto& a = d.as<InputBatchAttrs>().augment;
    return fmt::format("{:d}{:d}{:d}{:d}{:d}{:d}{:d}{:d}", a.shift > 0, a.rotate > 0, a.scale > 0,
                       a.shear > 0, a.elastic > 0, a.erase > 0, a.flip > 0, a.crop > 0);
  };
  EXPECT_EQ(combinations({OpKind::input_batch, Direction::forward}, augment).size(), 13u);
}

TEST(Table, CoversGeometriesOfConvolutions) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    std::set<int> kernels, strides, dilations, groups;
    std::set<std::int64_t> channels;
    int asymmetric = 0, depthwise = 0, size_one = 0;
    for (const Case& c : all_cases()) {
      if (c.desc.op != OpKey{OpKind::conv2d, direction}) continue;
      const auto& a = c.desc.as<Conv2dAttrs>();
      const Window& w = a.window;
      const Shape& x = direction == Direction::backward_data      ? c.desc.outputs[0].shape
                       : direction == Direction::backward_weights ? c.desc.inputs[1].shape
                                                                  : c.desc.inputs[0].shape;
      if (w.r == w.s) kernels.insert(w.r);
      strides.insert(w.stride_h);
      dilations.insert(a.dilation_h);
      groups.insert(a.groups);
      channels.insert(x[3]);
      asymmetric += w.pad_top != w.pad_bottom || w.pad_left != w.pad_right ? 1 : 0;
      depthwise += a.groups > 1 && a.groups == x[3] ? 1 : 0;
      size_one += x[1] == 1 || x[2] == 1 || x[3] == 1 ? 1 : 0;
    }
    for (const int size : {1, 2, 3, 4, 5, 7}) EXPECT_TRUE(kernels.count(size)) << size;
    EXPECT_EQ(strides, (std::set<int>{1, 2, 3, 4}));
    EXPECT_EQ(dilations, (std::set<int>{1, 2, 3, 4}));
    EXPECT_GE(groups.size(), 6u);
    for (const int t : {15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129})
      EXPECT_TRUE(channels.count(t)) << t;
    EXPECT_GE(asymmetric, 40);
    EXPECT_GE(depthwise, 20);
    EXPECT_GE(size_one, 40);
  }
}

TEST(Table, Bf16ChangesTheTypesOfActivationsOnly) {
  const OpDesc fp32 =
      conv2d_desc(Direction::forward, {2, 5, 5, 3, 4}, {.window = {3, 3}, .bias = true, .stats = true});
  const OpDesc bf16 = at_precision(fp32, Precision::bf16);
  EXPECT_EQ(bf16.inputs[0].dtype, DType::bf16);
  EXPECT_EQ(bf16.inputs[1].dtype, DType::f32);
  EXPECT_EQ(bf16.inputs[2].dtype, DType::f32);
  EXPECT_EQ(bf16.outputs[0].dtype, DType::bf16);
  EXPECT_EQ(bf16.outputs[1].dtype, DType::f32);
  for (const Case& c : all_cases())
    for (const Precision precision : {Precision::tf32, Precision::bf16})
      EXPECT_NO_THROW(validate(at_precision(c.desc, precision))) << c.name;
}

TEST(Slots, InPlaceOutputsShareTheInputOfTheirName) {
  const SlotNames names = slot_names(optimizer_desc(8, {.kind = OptimizerKind::adam, .segments = {{0, 8}}}));
  ASSERT_EQ(names.outputs.size(), 3u);
  EXPECT_EQ(names.outputs[0].in_place, names.input("params"));
  EXPECT_EQ(names.outputs[1].in_place, names.input("slot1"));
  EXPECT_EQ(names.outputs[2].in_place, names.input("slot2"));
  const SlotNames conv = slot_names(conv2d_desc(Direction::backward_data, {1, 4, 4, 2, 2}, {.mask = true}));
  EXPECT_EQ(conv.outputs[0].in_place, -1);
}

}  // namespace
}  // namespace quern::check
