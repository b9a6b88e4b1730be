#include <algorithm>

#include "check/descs.hpp"
#include "quern/bench.hpp"
#include "quern/error.hpp"
#include "quern/graph.hpp"
#include "quern/suggest.hpp"

namespace quern {

using namespace check;

namespace {

constexpr std::int64_t kImages = 8192;  // of the data set that input_batch gathers from

class Shapes {
 public:
  void add(std::string name, OpDesc desc) {
    const bool known = std::any_of(shapes_.begin(), shapes_.end(),
                                   [&](const BenchShape& shape) { return shape.desc == desc; });
    if (!known) shapes_.push_back({std::move(name), std::move(desc)});
  }

  void add_model(const char* model, std::int64_t batch) {
    GraphOptions options;
    options.batch = batch;
    options.dataset_images = options.order_length = kImages;
    const Graph graph = build_graph(load_model_spec(model), options);
    for (const Node& node : graph.nodes)
      add(fmt::format("{}:{}/n{}", model, node.name, batch), graph.desc(node));
  }

  void add_sweep(std::int64_t batch) {
    struct Extent {
      std::int64_t size, channels, filters;
    };
    for (const Extent& e : {Extent{28, 16, 32}, {28, 32, 64}, {14, 64, 64}, {14, 64, 128}, {7, 128, 256}})
      for (const int r : {1, 3}) {
        Conv2dAttrs attrs;
        attrs.window.r = attrs.window.s = r;
        attrs.window.pad_top = attrs.window.pad_left = attrs.window.pad_bottom = attrs.window.pad_right =
            r / 2;
        for (const Direction direction :
             {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
          const OpDesc desc = conv2d_desc(direction, {batch, e.size, e.size, e.channels, e.filters}, attrs);
          add(fmt::format("{}/n{}_h{}_c{}_k{}_r{}", to_string(desc.op), batch, e.size, e.channels, e.filters,
                          r),
              desc);
        }
      }
    for (const std::int64_t width : {128, 512, 1024})
      for (const Direction direction :
           {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
        const OpDesc desc = dense_desc(direction, batch, width, width, {});
        add(fmt::format("{}/n{}_c{}_k{}", to_string(desc.op), batch, width, width), desc);
      }
    for (const Extent& e : {Extent{28, 32, 0}, {14, 64, 0}, {7, 128, 0}})
      for (const Direction direction : {Direction::forward, Direction::inference, Direction::backward}) {
        const OpDesc desc = batchnorm_desc(direction, {batch, e.size, e.size, e.channels}, {});
        add(fmt::format("{}/n{}_h{}_c{}", to_string(desc.op), batch, e.size, e.channels), desc);
      }
  }

  std::vector<BenchShape> take() { return std::move(shapes_); }

 private:
  std::vector<BenchShape> shapes_;
};

}  // namespace

const char* to_string(ShapeSet set) noexcept {
  switch (set) {
    case ShapeSet::seed:
      return "seed";
    case ShapeSet::resnet:
      return "resnet";
    case ShapeSet::sweep:
      break;
  }
  return "sweep";
}

ShapeSet parse_shape_set(std::string_view text) {
  std::vector<std::string> names;
  for (const ShapeSet set : {ShapeSet::seed, ShapeSet::resnet, ShapeSet::sweep}) {
    names.emplace_back(to_string(set));
    if (text == names.back()) return set;
  }
  fail_input("unknown shape set '{}': choose one of {}{}", text, fmt::join(names, ", "),
             did_you_mean(text, names));
}

std::vector<BenchShape> bench_shapes(ShapeSet set, const std::vector<std::int64_t>& batches) {
  Shapes shapes;
  for (const std::int64_t batch : batches) {
    if (batch < 1) fail_input("--batch {}: must be at least 1", batch);
    if (set == ShapeSet::seed) {
      shapes.add_model("seed", batch);
      shapes.add_model("seed-bn", batch);
    } else if (set == ShapeSet::resnet) {
      shapes.add_model("resnet-tiny", batch);
    } else {
      shapes.add_sweep(batch);
    }
  }
  return shapes.take();
}

}  // namespace quern
