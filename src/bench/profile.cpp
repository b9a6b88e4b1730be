#include "quern/profile.hpp"

#include <algorithm>

#include "bench/cuda_peak.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

/// Holds a GPU back for about as long as the host needs to enqueue a node and its two events.
void hold_back([[maybe_unused]] Device& device, [[maybe_unused]] std::size_t nodes) {
#ifdef QUERN_HAVE_CUDA
  constexpr double kMicrosecondsANode = 25;
  if (device.info().kind == DeviceKind::cuda)
    bench::launch_delay(kMicrosecondsANode * static_cast<double>(nodes), device.stream());
#endif
}

}  // namespace

class Profiler::Marks final : public NodeObserver {
 public:
  explicit Marks(Timeline& timeline) : timeline_(timeline) {}
  void before(const PlannedNode&, const RunArgs&) override { timeline_.mark(); }
  void after(const PlannedNode&, const RunArgs&) override { timeline_.mark(); }

 private:
  Timeline& timeline_;
};

Profiler::Profiler(Device& device) : device_(device), timeline_(make_timeline(device)) {}
Profiler::~Profiler() = default;

void Profiler::walk(Executor& executor) {
  const Plan& plan = executor.plan();
  if (nodes_.empty()) {
    for (const PlannedNode& planned : plan.nodes) {
      const Node& node = plan.graph.nodes[static_cast<std::size_t>(planned.node)];
      nodes_.push_back(
          {node.name, node.layer, planned.implementation->full_name(), planned.desc, node.phase, {}, {}});
    }
  }
  QUERN_REQUIRE(nodes_.size() == plan.nodes.size(), "walks of two plans in one profile: {} nodes and {}",
                nodes_.size(), plan.nodes.size());
  timeline_->clear();
  hold_back(device_, nodes_.size());
  Marks marks(*timeline_);
  executor.run(marks);
  const std::vector<double> at = timeline_->seconds();
  QUERN_REQUIRE(at.size() == 2 * nodes_.size(), "{} points for {} nodes", at.size(), nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i].begin.push_back(at[2 * i]);
    nodes_[i].seconds.push_back(at[2 * i + 1] - at[2 * i]);
  }
}

void Profiler::walk_whole(Executor& executor) {
  whole_.push_back(timeline_->time([&] { executor.run(); }));
}

double median(std::vector<double> sample) {
  if (sample.empty()) return 0;
  const auto middle = sample.begin() + static_cast<std::ptrdiff_t>(sample.size() / 2);
  std::nth_element(sample.begin(), middle, sample.end());
  return *middle;
}

double spread(std::vector<double> sample) {
  if (sample.empty()) return 0;
  std::sort(sample.begin(), sample.end());
  const std::size_t tenth = sample.size() / 10;
  const double middle = sample[sample.size() / 2];
  return middle > 0 ? (sample[sample.size() - 1 - tenth] - sample[tenth]) / middle : 0;
}

}  // namespace quern
