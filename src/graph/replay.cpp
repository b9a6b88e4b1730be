#include "graph/replay.hpp"

#include "quern/error.hpp"

namespace quern {

GraphMode parse_graph_mode(std::string_view text) {
  for (const GraphMode mode : {GraphMode::automatic, GraphMode::loop, GraphMode::unrolled, GraphMode::off})
    if (text == to_string(mode)) return mode;
  fail_input("--graph {}: use auto, loop, unrolled or off", text);
}

const char* to_string(GraphMode mode) noexcept {
  switch (mode) {
    case GraphMode::loop:
      return "loop";
    case GraphMode::unrolled:
      return "unrolled";
    case GraphMode::off:
      return "off";
    case GraphMode::automatic:
      break;
  }
  return "auto";
}

void Replay::configure(const ReplayOptions& options) {
  QUERN_REQUIRE(options.unroll >= 1, "{} walks in a graph", options.unroll);
  options_ = options;
  forget();
}

void Replay::forget() noexcept {
  loop_.reset();
  many_.reset();
  one_.reset();
}

bool Replay::loops() const {
  if (options_.mode == GraphMode::loop && !device_.can_loop())
    fail_device(
        "--graph loop: {} has no graphs that loop (CUDA 12.4 and a driver for it have); use --graph auto",
        to_string(device_.info().kind));
  return options_.mode != GraphMode::unrolled && device_.can_loop();
}

DeviceGraph& Replay::recorded(std::unique_ptr<DeviceGraph>& graph, std::int64_t walks,
                              const std::function<void()>& walk) {
  if (!graph) {
    const bool loop = &graph == &loop_;
    const auto all = [&] {
      for (std::int64_t i = 0; i < walks; ++i) walk();
    };
    graph = loop ? device_.capture_loop(all) : device_.capture(all);
    ++counts_.recordings;
  }
  return *graph;
}

void Replay::run(std::int64_t times, const std::function<void()>& walk) {
  if (options_.mode == GraphMode::off || !device_.can_capture()) {
    for (; times > 0; --times, ++counts_.plain) walk();
    return;
  }
  // What libraries and the driver set up on first use (modules, handles, workspaces) may not be recorded: the
  // first walk of all is a plain one.
  if (times > 0 && !walked_) {
    walk();
    walked_ = true;
    ++counts_.plain;
    --times;
  }
  const auto launch = [&](DeviceGraph& graph, std::int64_t repetitions, std::int64_t walks) {
    graph.launch(device_.stream(), repetitions);
    counts_.replayed += repetitions * walks;
  };
  if (times > 0 && loops()) return launch(recorded(loop_, 1, walk), times, 1);
  const std::int64_t unroll = options_.unroll;
  if (times >= unroll) launch(recorded(many_, unroll, walk), times / unroll, unroll);
  if (times % unroll > 0) launch(recorded(one_, 1, walk), times % unroll, 1);
}

}  // namespace quern
