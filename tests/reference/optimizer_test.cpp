#include <cmath>

#include "harness.hpp"

namespace quern::testing {
namespace {

// Powers of two, so that the float attributes are what the formulas below say.
constexpr double kRate = 0.125, kMomentum = 0.75, kBeta1 = 0.5, kBeta2 = 0.75, kDecay = 0.25;
constexpr double kEpsilon = 0.0625;

OptimizerAttrs attributes(OptimizerKind kind, std::int64_t elements) {
  OptimizerAttrs attrs;
  attrs.kind = kind;
  attrs.momentum = static_cast<float>(kMomentum);
  attrs.beta1 = static_cast<float>(kBeta1);
  attrs.beta2 = static_cast<float>(kBeta2);
  attrs.epsilon = static_cast<float>(kEpsilon);
  attrs.segments = {{.offset = 0, .elements = elements}};
  return attrs;
}

struct State {
  Values params, slot1, slot2;
};

/// The step that follows `done` steps, with the bias corrections that the trainer would hand in.
State step(const OptimizerAttrs& attrs, State state, const Values& grads, int done) {
  const TensorDesc flat{DType::f32, {static_cast<std::int64_t>(grads.size())}};
  OpDesc desc{{OpKind::optimizer, Direction::forward}, attrs, {{DType::u8, {64}}, flat, flat}, {flat}};
  for (int slot = 0; slot < attrs.slots(); ++slot) {
    desc.inputs.push_back(flat);
    desc.outputs.push_back(flat);
  }
  StepScalars scalars;
  scalars.step = static_cast<std::uint32_t>(done);
  scalars.learning_rate = static_cast<float>(kRate);
  scalars.bias_correction1 = static_cast<float>(1 - std::pow(kBeta1, done + 1));
  scalars.bias_correction2 = static_cast<float>(1 - std::pow(kBeta2, done + 1));
  Call call(desc);
  call.set_step(scalars).set("grads", grads).set("params", state.params);
  if (attrs.slots() >= 1) call.set("slot1", state.slot1);
  if (attrs.slots() >= 2) call.set("slot2", state.slot2);
  call.run();
  state.params = call.get("params");
  if (attrs.slots() >= 1) state.slot1 = call.get("slot1");
  if (attrs.slots() >= 2) state.slot2 = call.get("slot2");
  return state;
}

State start(const Values& params) {
  return {params, Values(params.size(), 0.0), Values(params.size(), 0.0)};
}

TEST(ReferenceOptimizer, Sgd) {
  OptimizerAttrs attrs = attributes(OptimizerKind::sgd, 2);
  EXPECT_EQ(step(attrs, start({1, 2}), {4, -8}, 0).params, (Values{0.5, 3}));
  attrs.weight_decay = static_cast<float>(kDecay);
  EXPECT_EQ(step(attrs, start({1, 2}), {4, -8}, 0).params,
            (Values{1 - kRate * (4 + kDecay), 2 - kRate * (-8 + 2 * kDecay)}));
}

TEST(ReferenceOptimizer, MomentumTwoSteps) {
  const OptimizerAttrs attrs = attributes(OptimizerKind::momentum, 1);
  // v = 4, then 3/4 * 4 + 8 = 11.
  State state = step(attrs, start({1}), {4}, 0);
  EXPECT_EQ(state.params, (Values{0.5}));
  EXPECT_EQ(state.slot1, (Values{4}));
  state = step(attrs, state, {8}, 1);
  EXPECT_EQ(state.slot1, (Values{11}));
  EXPECT_EQ(state.params, (Values{0.5 - 11 * kRate}));
}

TEST(ReferenceOptimizer, NesterovTwoSteps) {
  const OptimizerAttrs attrs = attributes(OptimizerKind::nesterov, 1);
  // The gradient plus 3/4 of the velocity: 4 + 3, then 8 + 3/4 * 11.
  State state = step(attrs, start({1}), {4}, 0);
  EXPECT_EQ(state.slot1, (Values{4}));
  EXPECT_EQ(state.params, (Values{1 - 7 * kRate}));
  state = step(attrs, state, {8}, 1);
  EXPECT_EQ(state.slot1, (Values{11}));
  EXPECT_EQ(state.params, (Values{1 - 7 * kRate - 16.25 * kRate}));
}

TEST(ReferenceOptimizer, DecayJoinsTheVelocity) {
  for (const auto kind : {OptimizerKind::momentum, OptimizerKind::nesterov}) {
    OptimizerAttrs decayed = attributes(kind, 1), plain = attributes(kind, 1);
    decayed.weight_decay = static_cast<float>(kDecay);
    // At p = 8 the decay is a gradient of 2.
    const State a = step(decayed, start({8}), {4}, 0), b = step(plain, start({8}), {6}, 0);
    EXPECT_EQ(a.params, b.params);
    EXPECT_EQ(a.slot1, b.slot1);
  }
}

/// Under a constant gradient g the corrected moments are g and g^2, so that each step is
/// rate * g / (|g| + eps / sqrt(bias_correction2)).
TEST(ReferenceOptimizer, AdamUnderAConstantGradient) {
  const OptimizerAttrs attrs = attributes(OptimizerKind::adam, 2);
  const Values g = {3, -0.5};
  State state = start({1, 2});
  Values expected = state.params;
  for (int done = 0; done < 5; ++done) {
    state = step(attrs, state, g, done);
    const double correction = 1 - std::pow(kBeta2, done + 1);
    for (std::size_t i = 0; i < 2; ++i) {
      expected[i] -= kRate * g[i] / (std::abs(g[i]) + kEpsilon / std::sqrt(correction));
      EXPECT_NEAR(state.slot1[i], g[i] * (1 - std::pow(kBeta1, done + 1)), 1e-14);
      EXPECT_NEAR(state.slot2[i], g[i] * g[i] * correction, 1e-14);
    }
    expect_near(state.params, expected, 1e-14, "params");
  }
}

TEST(ReferenceOptimizer, AdamTwoStepsOfDifferentGradients) {
  const OptimizerAttrs attrs = attributes(OptimizerKind::adam, 1);
  State state = step(attrs, start({1}), {4}, 0);
  // m = 2, v = 4; corrections 1/2 and 1/4: 1 - rate * (1/2) / (1/2) * 2 / (2 + eps).
  const double first = 1 - kRate * 2 / (2 + kEpsilon);
  EXPECT_EQ(state.slot1, (Values{2}));
  EXPECT_EQ(state.slot2, (Values{4}));
  expect_near(state.params, {first}, 1e-15, "first");
  state = step(attrs, state, {-2}, 1);
  // m = 1 - 1 = 0: the parameter stands still. v = 3 + 1.
  EXPECT_EQ(state.slot1, (Values{0}));
  EXPECT_EQ(state.slot2, (Values{4}));
  expect_near(state.params, {first}, 1e-15, "second");
  state = step(attrs, state, {4}, 2);
  // m = 2, v = 3 + 4 = 7; corrections 7/8 and 37/64.
  expect_near(state.params,
              {first - kRate * (std::sqrt(37.0) / 8) / (7.0 / 8) * 2 / (std::sqrt(7.0) + kEpsilon)}, 1e-15,
              "third");
}

TEST(ReferenceOptimizer, AdamDecaysThroughTheGradientAndAdamWBesideIt) {
  OptimizerAttrs adam = attributes(OptimizerKind::adam, 1), adamw = attributes(OptimizerKind::adamw, 1);
  adam.weight_decay = adamw.weight_decay = static_cast<float>(kDecay);
  OptimizerAttrs plain = attributes(OptimizerKind::adam, 1);
  // Adam at p = 8: a gradient of 4 + 2.
  const State decayed = step(adam, start({8}), {4}, 0), by_gradient = step(plain, start({8}), {6}, 0);
  EXPECT_EQ(decayed.params, by_gradient.params);
  EXPECT_EQ(decayed.slot1, by_gradient.slot1);
  EXPECT_EQ(decayed.slot2, by_gradient.slot2);
  // AdamW: moments of 4 alone, the parameter shrunk by rate * decay.
  const State beside = step(adamw, start({8}), {4}, 0), undecayed = step(plain, start({8}), {4}, 0);
  EXPECT_EQ(beside.slot1, undecayed.slot1);
  EXPECT_EQ(beside.slot2, undecayed.slot2);
  expect_near(beside.params, {undecayed.params[0] - kRate * kDecay * 8}, 1e-15, "params");
}

TEST(ReferenceOptimizer, DecayAppliesToTheSegmentsThatAskForIt) {
  for (const auto kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                          OptimizerKind::adam, OptimizerKind::adamw}) {
    OptimizerAttrs attrs = attributes(kind, 1);
    attrs.segments = {{.offset = 0, .elements = 1, .decay = true},
                      {.offset = 1, .elements = 1, .decay = false}};
    attrs.weight_decay = static_cast<float>(kDecay);
    const Values params = step(attrs, start({8, 8}), {0, 0}, 0).params;
    EXPECT_LT(params[0], 8) << to_string(kind);
    EXPECT_EQ(params[1], 8) << to_string(kind);
  }
}

TEST(ReferenceOptimizer, ClippingScalesByTheNormOfAllParameters) {
  OptimizerAttrs attrs = attributes(OptimizerKind::sgd, 1);
  attrs.segments = {{.offset = 0, .elements = 1}, {.offset = 2, .elements = 1}};
  // The gap is no parameter: neither its value nor its gradient counts.
  const Values grads = {3, 1000, 4};
  attrs.clip_norm = 2.5f;  // the norm is 5
  EXPECT_EQ(step(attrs, start({0, 7, 0}), grads, 0).params, (Values{-1.5 * kRate, 7, -2 * kRate}));
  attrs.clip_norm = 5;
  EXPECT_EQ(step(attrs, start({0, 7, 0}), grads, 0).params, (Values{-3 * kRate, 7, -4 * kRate}));
  EXPECT_EQ(step(attrs, start({1, 7, 1}), {0, 0, 0}, 0).params, (Values{1, 7, 1}));
}

TEST(ReferenceOptimizer, ClippingComesBeforeDecayAndMoments) {
  for (const auto kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                          OptimizerKind::adam, OptimizerKind::adamw}) {
    OptimizerAttrs clipped = attributes(kind, 2), plain = attributes(kind, 2);
    clipped.weight_decay = plain.weight_decay = static_cast<float>(kDecay);
    clipped.clip_norm = 2.5f;
    const State a = step(clipped, start({8, -8}), {3, 4}, 0), b = step(plain, start({8, -8}), {1.5, 2}, 0);
    EXPECT_EQ(a.params, b.params) << to_string(kind);
    if (plain.slots() >= 1) {
      EXPECT_EQ(a.slot1, b.slot1) << to_string(kind);
    }
    if (plain.slots() >= 2) {
      EXPECT_EQ(a.slot2, b.slot2) << to_string(kind);
    }
  }
}

}  // namespace
}  // namespace quern::testing
