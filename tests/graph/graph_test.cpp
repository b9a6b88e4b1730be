#include "quern/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/error.hpp"

namespace quern {
namespace {

std::vector<std::string> node_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.push_back(node.name);
  return names;
}

const Node& node(const Graph& graph, const std::string& name) {
  for (const Node& candidate : graph.nodes)
    if (candidate.name == name) return candidate;
  throw std::runtime_error("no node " + name);
}

TEST(Graph, SeedBnFusedIsEighteenNodes) {
  const Graph graph = build_graph(load_model_spec("seed-bn"), {});
  EXPECT_THAT(node_names(graph),
              testing::ElementsAre(
                  "input.forward", "conv1.forward", "bn1.forward", "conv2.forward", "bn2.forward",
                  "dense1.forward", "bn3.forward", "logits.forward", "loss.forward", "metrics.forward",
                  "logits.backward_data", "logits.backward_weights", "bn3.backward", "dense1.backward_data",
                  "dense1.backward_weights", "bn2.backward", "conv2.backward_data", "conv2.backward_weights",
                  "bn1.backward", "conv1.backward_weights", "optimizer.forward"));
  EXPECT_TRUE(std::get<Conv2dAttrs>(node(graph, "conv1.forward").attrs).relu);
  EXPECT_TRUE(std::get<Conv2dAttrs>(node(graph, "conv1.forward").attrs).stats);
  EXPECT_TRUE(std::get<BatchNormAttrs>(node(graph, "bn2.forward").attrs).pool);
  EXPECT_TRUE(std::get<BatchNormAttrs>(node(graph, "bn2.forward").attrs).stats);
  const auto& backward = std::get<BatchNormAttrs>(node(graph, "bn2.backward").attrs);
  EXPECT_TRUE(backward.pool && backward.mask);
  EXPECT_FALSE(backward.relu);
}

TEST(Graph, SeedBnForFewLaunches) {
  GraphOptions options;
  options.few_launches = true;
  const Graph graph = build_graph(load_model_spec("seed-bn"), options);
  EXPECT_THAT(
      node_names(graph),
      testing::ElementsAre("conv1.forward", "bn1.forward", "conv2.forward", "bn2.forward", "dense1.forward",
                           "bn3.forward", "logits.forward", "loss.forward", "logits.backward", "bn3.backward",
                           "dense1.backward", "bn2.backward", "conv2.backward", "bn1.backward",
                           "conv1.backward_weights", "optimizer.forward"));
  EXPECT_TRUE(std::get<SoftmaxXentAttrs>(node(graph, "loss.forward").attrs).metrics);
  EXPECT_TRUE(std::get<SoftmaxXentAttrs>(node(graph, "loss.forward").attrs).gather);
  for (const char* name : {"conv1.forward", "conv1.backward_weights"})
    EXPECT_TRUE(std::get<Conv2dAttrs>(node(graph, name).attrs).gather) << name;
  const Node& conv2 = node(graph, "conv2.backward");
  EXPECT_TRUE(std::get<Conv2dAttrs>(conv2.attrs).bias);
  EXPECT_FALSE(std::get<Conv2dAttrs>(conv2.attrs).mask);
  EXPECT_EQ(graph.value(conv2.outputs[1]).name, "conv2.weight.grad");
  EXPECT_EQ(graph.value(conv2.outputs[2]).name, "conv2.bias.grad");
}

TEST(Graph, FewLaunchesKeepAMask) {
  GraphOptions options;
  options.few_launches = true;
  const Graph graph = build_graph(load_model_spec("seed"), options);
  EXPECT_TRUE(std::get<DenseAttrs>(node(graph, "logits.backward").attrs).mask);
  options.fuse = false;  // `--no-fuse` turns this off, too
  EXPECT_NO_THROW(node(build_graph(load_model_spec("seed"), options), "metrics.forward"));
}

TEST(Graph, ABatchStaysWhereItIsAugmentedOrReadByOthers) {
  GraphOptions options;
  options.few_launches = true;
  // mlp flattens its images first.
  EXPECT_NO_THROW(node(build_graph(load_model_spec("mlp"), options), "input.forward"));
  ModelSpec augmented = load_model_spec("seed");
  augmented.recipe.augment.shift = 2;
  EXPECT_NO_THROW(node(build_graph(augmented, options), "input.forward"));
  options.training = false;  // evaluation augments nothing
  EXPECT_ANY_THROW(node(build_graph(augmented, options), "input.forward"));
}

TEST(Graph, SeedFusesReluIntoConvolutionAndItsMaskIntoThePooling) {
  const Graph graph = build_graph(load_model_spec("seed"), {});
  EXPECT_TRUE(std::get<Conv2dAttrs>(node(graph, "conv2.forward").attrs).relu);
  EXPECT_TRUE(std::get<Pool2dAttrs>(node(graph, "pool2.backward").attrs).mask);
  EXPECT_TRUE(std::get<DenseAttrs>(node(graph, "logits.backward_data").attrs).mask);
  for (const Node& n : graph.nodes) EXPECT_NE(n.op.kind, OpKind::relu) << n.name;
}

TEST(Graph, ResidualNetFusesReluAfterBatchNormAndAfterAdd) {
  const Graph graph = build_graph(load_model_spec("resnet-tiny"), {});
  EXPECT_TRUE(std::get<BatchNormAttrs>(node(graph, "block1_bn1.forward").attrs).relu);
  EXPECT_TRUE(std::get<BatchNormAttrs>(node(graph, "block1_bn1.backward").attrs).relu);
  EXPECT_TRUE(std::get<AddAttrs>(node(graph, "block1_add.forward").attrs).relu);
  // The last ReLU feeds only the global pooling, whose backward takes its mask.
  EXPECT_TRUE(std::get<GlobalPoolAttrs>(node(graph, "pool.backward").attrs).mask);
  // The others feed two branches: their gradients are summed first, so the mask stays a node of its own.
  EXPECT_NO_THROW(node(graph, "block2_relu.backward"));
}

// Found by random graphs: the second pooling was merged into the same batch norm.
TEST(Graph, OnlyTheFirstOfTwoPoolingsIsMergedIntoABatchNorm) {
  const ModelSpec spec = parse_model_spec(
      R"({"name": "t", "input": {"shape": [8, 8, 1]}, "layers": [{"name": "b", "op": "batchnorm"},
          {"name": "p1", "op": "maxpool2d"}, {"name": "p2", "op": "maxpool2d"}, {"name": "f", "op": "flatten"},
          {"name": "out", "op": "dense", "units": 3}]})",
      "t");
  for (const bool training : {true, false}) {
    const Graph graph = build_graph(spec, {.training = training});  // validates every node
    EXPECT_TRUE(std::ranges::any_of(graph.nodes, [](const Node& node) { return node.name == "p2.forward"; }));
    EXPECT_TRUE(
        std::ranges::none_of(graph.nodes, [](const Node& node) { return node.name == "p1.forward"; }));
  }
}

TEST(Graph, EvaluationHasNeitherBackwardNorDropoutNorArgmax) {
  for (const std::string& name : model_names()) {
    GraphOptions options;
    options.training = false;
    const Graph graph = build_graph(load_model_spec(name), options);
    for (const Node& n : graph.nodes) {
      EXPECT_TRUE(n.op.direction == Direction::forward || n.op.direction == Direction::inference) << n.name;
      EXPECT_NE(n.op.kind, OpKind::dropout);
      EXPECT_NE(n.op.kind, OpKind::optimizer);
      for (const ValueId out : n.outputs) EXPECT_EQ(graph.value(out).name.find("argmax"), std::string::npos);
    }
  }
}

TEST(Graph, EveryPresetIsValidInEveryMode) {
  for (const std::string& name : model_names())
    for (const bool training : {true, false})
      for (const bool fused : {true, false})
        for (const Precision precision : {Precision::fp32, Precision::bf16})
          for (const std::int64_t batch : {1, 3, 64}) {
            GraphOptions options;
            options.training = training;
            options.fuse = fused;
            options.precision = precision;
            options.batch = batch;
            EXPECT_NO_THROW(build_graph(load_model_spec(name), options)) << name << " " << batch;
          }
}

// fp32 remains where something is added up or kept: logits, loss, statistics, weights and their gradients.
TEST(Graph, Bf16IsForActivationsAndTheirGradients) {
  for (const std::string& name : model_names()) {
    GraphOptions options;
    options.precision = Precision::bf16;
    const Graph graph = build_graph(load_model_spec(name), options);
    const auto type_of = [&](std::string_view value) { return graph.value(graph.find(value)).desc.dtype; };
    EXPECT_EQ(type_of(names::kLogits), DType::f32) << name;
    EXPECT_EQ(type_of("logits.grad"), DType::bf16) << name;
    EXPECT_EQ(type_of("input.out"), DType::bf16) << name;
    EXPECT_EQ(type_of(names::kLoss), DType::f32) << name;
    for (const Value& value : graph.values) {
      const bool kept = value.storage != Storage::transient || value.name.ends_with(".saved") ||
                        value.name.ends_with(".stats");
      const DType expected = kept ? DType::f32 : DType::bf16;
      if (value.name.ends_with(".out") || value.desc.dtype == DType::bf16) {
        EXPECT_EQ(value.desc.dtype, expected) << name << ": " << value.name;
      }
    }
  }
}

TEST(Graph, GradientsLieWhereTheirWeightsLie) {
  const Graph graph = build_graph(load_model_spec("seed-bn"), {});
  const ValueId gradients = graph.find(names::kGradients), weights = graph.find(names::kWeights);
  const auto& layout = weight_layout(load_model_spec("seed-bn"));
  EXPECT_EQ(graph.value(gradients).desc.elements(), layout.trained_elements);
  int found = 0;
  for (const Node& n : graph.nodes)
    if (n.op.direction == Direction::backward_weights) {
      const ValueId dw = n.outputs[0];
      ASSERT_EQ(graph.root(dw), gradients);
      const WeightTensor& tensor = layout.find(n.layer + ".weight");
      EXPECT_EQ(graph.root_offset(dw), static_cast<std::size_t>(tensor.offset) * 4);
      EXPECT_EQ(graph.root(graph.find(tensor.name)), weights);
      ++found;
    }
  EXPECT_EQ(found, 4);
}

TEST(Graph, BatchOfZeroIsAnInputError) {
  GraphOptions options;
  options.batch = 0;
  EXPECT_THROW(build_graph(load_model_spec("mlp"), options), Error);
}

}  // namespace
}  // namespace quern
