/// Random graphs run in every way: fused or not, memory shared or not, on the reference, the CPU provider and
/// the emulated kernels. A failure names its seed; run that one alone, or thousands, with
///
///   QUERN_GRAPH_SEEDS=FIRST[:COUNT] graph_fuzz_test

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "tests/graph_fuzz/differ.hpp"
#include "tests/graph_fuzz/seeds.hpp"

namespace quern {
namespace {

using test::random_model;

constexpr std::uint64_t kShards = 6;  // so that CTest runs them side by side

class RandomGraphs : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomGraphs, AgreeInEveryWay) {
  const test::Seeds range = test::seeds_from("QUERN_GRAPH_SEEDS", 96);
  test::Differ differ;
  for (std::uint64_t i = GetParam(); i < range.count; i += kShards) {
    const test::RandomModel model = random_model(range.first + i);
    for (const std::string& fault : differ.compare(model))
      ADD_FAILURE() << "graph " << model.seed << ": " << fault
                    << "\n  alone: QUERN_GRAPH_SEEDS=" << model.seed
                    << " graph_fuzz_test\n  model: " << model.json;
  }
  const test::DifferCounts& counts = differ.counts();
  std::printf("%d graphs, %d runs, %d nodes checked one by one, %d disturbed, %d under the race detector\n",
              counts.graphs, counts.runs, counts.nodes, counts.disturbed, counts.raced);
}
INSTANTIATE_TEST_SUITE_P(Shard, RandomGraphs, testing::Range<std::uint64_t>(0, kShards));

// The test of the test: planted faults are found, and where they were planted.

/// How many of the first graphs are found wrong; stops at `enough`.
int graphs_found_wrong(const test::Sabotage& sabotage, const std::string& where, int enough) {
  test::Differ differ(sabotage);
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 48 && found < enough; ++seed) {
    const std::vector<std::string> faults = differ.compare(random_model(seed));
    found += !faults.empty();
    for (const std::string& fault : faults) EXPECT_THAT(fault, testing::StartsWith(where));
  }
  return found;
}

TEST(PlantedFaults, AForgottenMask) {
  const auto drop_masks = [](Graph& graph) {
    for (Node& node : graph.nodes)
      if (auto* dense = std::get_if<DenseAttrs>(&node.attrs); dense && dense->mask) {
        dense->mask = false;
        node.inputs.pop_back();
      } else if (auto* conv = std::get_if<Conv2dAttrs>(&node.attrs); conv && conv->mask) {
        conv->mask = false;
        node.inputs.pop_back();
      }
  };
  EXPECT_EQ(graphs_found_wrong({drop_masks, {}, {}}, "reference, fused", 2), 2);
}

TEST(PlantedFaults, AValueWrittenOverOneThatIsStillRead) {
  const auto overwrite = [](Graph& graph) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      if (node.op != OpKey{OpKind::relu, Direction::forward}) continue;
      for (std::size_t later = i + 1; later < graph.nodes.size(); ++later)
        for (const ValueId id : graph.nodes[later].inputs)
          if (graph.root(id) == graph.root(node.inputs[0]) && graph.root(id) != graph.root(node.outputs[0])) {
            Value& out = graph.values[static_cast<std::size_t>(node.outputs[0])];
            if (out.name == names::kLogits || out.alias_of != kNoValue) continue;
            out.alias_of = graph.root(node.inputs[0]);
            return;
          }
    }
  };
  EXPECT_EQ(graphs_found_wrong({{}, overwrite, {}}, "reference, memory shared", 2), 2);
}

/// Works by image as another does, but leaves out all cuts but the first of every part.
class ForgetsCuts final : public Executable, public ImageWise {
 public:
  explicit ForgetsCuts(std::unique_ptr<Executable> right) : right_(std::move(right)) {}
  std::size_t workspace_bytes() const override { return right_->workspace_bytes(); }
  void run(const RunArgs& args) override { right_->run(args); }
  ImageWise* image_wise() override { return right_->image_wise() != nullptr ? this : nullptr; }

  Team team() const override { return work().team(); }
  int parts() const override { return work().parts(); }
  std::int64_t images() const override { return work().images(); }
  bool reads_by_image(std::size_t slot) const override { return work().reads_by_image(slot); }
  bool writes_by_image(std::size_t slot) const override { return work().writes_by_image(slot); }
  std::size_t resident_bytes() const override { return work().resident_bytes(); }
  std::int64_t granule() const override { return work().granule(); }
  int prepare_phases() const override { return work().prepare_phases(); }
  int finish_phases() const override { return work().finish_phases(); }
  void prepare(const RunArgs& args, int phase, int part) override { work().prepare(args, phase, part); }
  void run_images(const RunArgs& args, int part, std::int64_t begin, std::int64_t end) override {
    if (begin == images() * part / parts()) work().run_images(args, part, begin, end);
  }
  void finish(const RunArgs& args, int phase, int part) override { work().finish(args, phase, part); }

 private:
  ImageWise& work() const { return *right_->image_wise(); }
  std::unique_ptr<Executable> right_;
};

/// Adds to the first element that an executable wrote.
class OneWrongElement final : public Executable {
 public:
  explicit OneWrongElement(std::unique_ptr<Executable> right) : right_(std::move(right)) {}
  std::size_t workspace_bytes() const override { return right_->workspace_bytes(); }
  void run(const RunArgs& args) override {
    right_->run(args);
    static_cast<float*>(args.out[0])[0] += 1e-3f;
  }

 private:
  std::unique_ptr<Executable> right_;
};

/// Wraps the provider's executables of the operations that are chosen.
template <class Wrong, class Choose>
std::function<void(Registry&)> spoil(const Choose& choose) {
  return [choose](Registry& registry) {
    Registry spoilt;
    for (const OpKey op : all_operations())
      for (Implementation implementation : registry.candidates(op)) {
        if (choose(op) && implementation.provider == Provider::onednn)
          implementation.prepare = [right = implementation.prepare](const OpDesc& desc, Device& device) {
            return std::make_unique<Wrong>(right(desc, device));
          };
        spoilt.add(std::move(implementation));
      }
    registry = std::move(spoilt);
  };
}

TEST(PlantedFaults, OneWrongElementOfOneProvider) {
  const auto dense = [](OpKey op) { return op == OpKey{OpKind::dense, Direction::backward_weights}; };
  EXPECT_EQ(graphs_found_wrong({{}, {}, spoil<OneWrongElement>(dense)}, "onednn", 4), 4);
}

TEST(PlantedFaults, ImagesThatAChainForgets) {
  const auto any = [](OpKey) { return true; };
  EXPECT_EQ(graphs_found_wrong({{}, {}, spoil<ForgetsCuts>(any)}, "onednn", 4), 4);
}

// The generator must reach what it is there for.
TEST(RandomModels, HaveEveryKindAndEveryFusion) {
  std::set<std::string> kinds, fused;
  std::size_t residuals = 0, strides = 0, groups = 0;
  for (std::uint64_t seed = 1; seed <= 96; ++seed) {
    const test::RandomModel model = random_model(seed);
    EXPECT_EQ(model.json, random_model(seed).json);
    for (const LayerSpec& layer : model.spec.layers) {
      kinds.insert(to_string(layer.kind));
      residuals += layer.kind == OpKind::add;
      strides += layer.stride_h > 1;
      groups += layer.groups > 1;
    }
    GraphOptions options;
    options.batch = model.spec.recipe.batch_size;
    for (const Node& node : build_graph(model.spec, options).nodes)
      std::visit(
          [&](const auto& attrs) {
            const std::string op = to_string(node.op);
            if constexpr (requires { attrs.relu; })
              if (attrs.relu) fused.insert(op + " relu");
            if constexpr (requires { attrs.stats; })
              if (attrs.stats) fused.insert(op + " stats");
            if constexpr (requires { attrs.pool; })
              if (attrs.pool) fused.insert(op + " pool");
            if constexpr (requires { attrs.mask; })
              if (attrs.mask) fused.insert(op + " mask");
          },
          node.attrs);
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"conv2d", "dense", "batchnorm", "relu", "maxpool2d", "avgpool2d",
                                          "global_avgpool", "dropout", "add", "flatten"}));
  for (const char* rule : {"conv2d.forward relu", "conv2d.forward stats", "dense.forward relu",
                           "dense.forward stats", "batchnorm.forward relu", "batchnorm.forward stats",
                           "batchnorm.forward pool", "batchnorm.backward relu", "batchnorm.backward pool",
                           "batchnorm.backward mask", "conv2d.backward_data mask", "dense.backward_data mask",
                           "maxpool2d.backward mask", "avgpool2d.backward mask", "add.forward relu"})
    EXPECT_TRUE(fused.contains(rule)) << rule;
  EXPECT_GT(residuals, 50u);
  EXPECT_GT(strides, 50u);
  EXPECT_GT(groups, 10u);
}

}  // namespace
}  // namespace quern
