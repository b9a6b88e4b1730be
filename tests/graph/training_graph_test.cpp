#include <gtest/gtest.h>

#include <cmath>

#include "tests/graph/harness.hpp"

// Whole training graphs on the reference: gradients against finite differences of the whole network's loss,
// and the passes against the graph they rewrite.

namespace quern {
namespace {

using test::Harness;

ModelSpec parse(const std::string& layers, const std::string& recipe = "{}") {
  return parse_model_spec(
      R"({"name": "t", "input": {"shape": [6, 5, 2], "mean": 0.5, "std": 0.25}, "layers": [)" + layers +
          R"(], "recipe": )" + recipe + "}",
      "t");
}

/// d loss / d weights along a direction, by central differences over whole steps, against the gradient's
/// projection. The networks are smooth (no ReLU, no max), so the difference is the derivative up to O(h^2).
void expect_gradients_match(const ModelSpec& spec, bool fused) {
  const Registry registry = test::reference_registry();
  GraphOptions options;
  options.batch = 6;
  options.fuse = fused;
  Harness harness(spec, options, registry);
  const std::vector<float> start(harness.weights().begin(), harness.weights().end());
  harness.run();
  const std::vector<float> gradient(harness.gradients().begin(), harness.gradients().end());
  for (const WeightTensor& tensor : harness.layout().tensors) {
    if (!tensor.trained) continue;
    std::vector<double> direction(static_cast<std::size_t>(tensor.shape.elements()));
    double projection = 0, norm = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      direction[i] =
          static_cast<double>(uniform_from_u32(philox_u32(3, RandomPurpose::test, tensor.stream, 0, i))) -
          0.5;
      // Tilted towards the gradient, so that the projection stands out of fp32 noise.
      direction[i] += 20 * static_cast<double>(gradient[static_cast<std::size_t>(tensor.offset) + i]);
      norm += direction[i] * direction[i];
    }
    norm = std::sqrt(norm);
    for (std::size_t i = 0; i < direction.size(); ++i)
      projection +=
          direction[i] / norm * static_cast<double>(gradient[static_cast<std::size_t>(tensor.offset) + i]);
    const auto loss_at = [&](double h) {
      std::copy(start.begin(), start.end(), harness.weights().begin());
      for (std::size_t i = 0; i < direction.size(); ++i)
        harness.weights()[static_cast<std::size_t>(tensor.offset) + i] +=
            static_cast<float>(h * direction[i] / norm);
      harness.run();
      return harness.mean_loss();
    };
    const double h = 1e-2;
    const double difference = (loss_at(h) - loss_at(-h)) / (2 * h);
    EXPECT_NEAR(projection, difference, 2e-3 * std::abs(difference) + 5e-5) << tensor.name;
  }
}

const char* const kSmooth =
    R"({"name": "c1", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"},
       {"name": "b1", "op": "batchnorm"},
       {"name": "c2", "op": "conv2d", "filters": 4, "kernel": [3, 1], "padding": "same", "groups": 2, "bias": false},
       {"name": "sum", "op": "add", "inputs": ["c2", "b1"]},
       {"name": "b2", "op": "batchnorm", "epsilon": 0.01},
       {"name": "twice", "op": "add", "inputs": ["b2", "b2"]},
       {"name": "drop", "op": "dropout", "rate": 0.25},
       {"name": "p1", "op": "avgpool2d", "kernel": 2, "padding": "same"},
       {"name": "c3", "op": "conv2d", "filters": 5, "kernel": 2, "stride": [2, 1], "dilation": [1, 2], "padding": [1, 1]},
       {"name": "gap", "op": "global_avgpool", "inputs": ["c3"]},
       {"name": "flat", "op": "flatten", "inputs": ["c3"]},
       {"name": "d1", "op": "dense", "units": 5, "inputs": ["flat"]},
       {"name": "merge", "op": "add", "inputs": ["d1", "gap"]},
       {"name": "b3", "op": "batchnorm"},
       {"name": "out", "op": "dense", "units": 7})";

TEST(TrainingGraph, GradientsOfASmoothNetworkMatchFiniteDifferences) {
  for (const bool fused : {false, true})
    expect_gradients_match(parse(kSmooth, R"({"label_smoothing": 0.1})"), fused);
}

/// Steps with one setting against steps with another; the weights must agree within `tolerance` (0: bit for
/// bit).
void expect_same_training(const ModelSpec& spec, GraphOptions a, GraphOptions b, double tolerance,
                          const PlanOptions& plan_b = {}, int steps = 3) {
  const Registry registry = test::reference_registry();
  a.batch = b.batch = 6;
  Harness first(spec, a, registry), second(spec, b, registry, plan_b);
  for (int step = 0; step < steps; ++step) {
    first.run(static_cast<std::uint32_t>(step));
    second.run(static_cast<std::uint32_t>(step));
    EXPECT_NEAR(first.mean_loss(), second.mean_loss(), tolerance) << spec.name << " step " << step;
  }
  for (const char* name : {names::kWeights, names::kEma}) {
    const auto x = first.floats(name), y = second.floats(name);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(static_cast<double>(x[i]), static_cast<double>(y[i]), tolerance)
          << spec.name << " " << name << i;
  }
  EXPECT_EQ(first.metrics().count, 6 * steps);
}

std::vector<ModelSpec> small_nets() {
  std::vector<ModelSpec> nets{
      // Not Adam here: the gradient of a bias before a batch norm is rounding noise around zero, which Adam's
      // normalisation blows up to whole steps, so that no tolerance would mean anything.
      parse(kSmooth, R"({"optimizer": "nesterov", "ema_decay": 0.9, "clip_norm": 1.0})"),
      // Every fusion rule: conv+relu+stats, bn+pool, bn+relu+pool, bn+relu, add+relu, dense+relu, masks,
      // views.
      parse(
          R"({"name": "c1", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"}, {"name": "r1", "op": "relu"},
               {"name": "b1", "op": "batchnorm"}, {"name": "p1", "op": "maxpool2d", "kernel": 2, "padding": "same"},
               {"name": "c2", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same", "bias": false},
               {"name": "b2", "op": "batchnorm"}, {"name": "r2", "op": "relu"},
               {"name": "p2", "op": "maxpool2d", "kernel": 2, "stride": 1},
               {"name": "c3", "op": "conv2d", "filters": 4, "kernel": 1}, {"name": "r3", "op": "relu"},
               {"name": "c4", "op": "conv2d", "filters": 4, "kernel": 1}, {"name": "b4", "op": "batchnorm"},
               {"name": "s", "op": "add", "inputs": ["b4", "r3"]}, {"name": "r4", "op": "relu"},
               {"name": "a", "op": "avgpool2d", "kernel": 2, "padding": "same"}, {"name": "r5", "op": "relu"},
               {"name": "flat", "op": "flatten"}, {"name": "d1", "op": "dense", "units": 8}, {"name": "r6", "op": "relu"},
               {"name": "drop", "op": "dropout", "rate": 0.5},
               {"name": "b5", "op": "batchnorm"}, {"name": "r7", "op": "relu"}, {"name": "out", "op": "dense", "units": 3})",
          R"({"optimizer": "momentum", "weight_decay": 0.01})")};
  for (ModelSpec& net : nets) net.name = "net" + std::to_string(&net - nets.data());
  return nets;
}

TEST(TrainingGraph, FusedAndUnfusedTrainAlike) {
  for (const ModelSpec& spec : small_nets()) {
    GraphOptions plain;
    plain.fuse = false;
    expect_same_training(spec, {}, plain, 2e-5);
  }
}

TEST(TrainingGraph, FewerLaunchesChangeNoBit) {
  for (const ModelSpec& spec : small_nets()) {
    GraphOptions few;
    few.few_launches = true;
    expect_same_training(spec, {}, few, 0);
  }
}

TEST(TrainingGraph, MemoryReuseAndInPlaceChangeNothing) {
  for (const ModelSpec& spec : small_nets())
    for (const bool fused : {true, false}) {
      GraphOptions a, b;
      a.fuse = b.fuse = fused;
      b.in_place = false;
      expect_same_training(spec, a, b, 0, {{}, false});
    }
}

TEST(TrainingGraph, InPlaceAndReuseSaveMemory) {
  const Registry registry = test::reference_registry();
  GraphOptions plain;
  plain.fuse = false;
  GraphOptions separate = plain;
  separate.in_place = false;
  const DeviceInfo info = open_device("cpu", 1)->info();
  const ModelSpec spec = load_model_spec("resnet-tiny");
  EXPECT_LT(make_plan(build_graph(spec, plain), registry, info).transient_bytes,
            make_plan(build_graph(spec, separate), registry, info).transient_bytes);
}

TEST(TrainingGraph, LossFallsOnABatchThatRepeats) {
  const Registry registry = test::reference_registry();
  Harness harness(small_nets()[1], {.batch = 6}, registry);
  harness.run(0);
  const double before = harness.mean_loss();
  for (int i = 0; i < 60; ++i) harness.run(0);
  EXPECT_LT(harness.mean_loss(), 0.6 * before);
}

}  // namespace
}  // namespace quern
