#include "train/nonfinite.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "quern/error.hpp"

namespace quern {
namespace {

/// Element `i` of a floating-point tensor.
double element(DType dtype, const std::byte* bytes, std::size_t i) {
  if (dtype == DType::f64) {
    double value = 0;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    return value;
  }
  if (dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    return static_cast<double>(value);
  }
  std::uint16_t value = 0;
  std::memcpy(&value, bytes + i * sizeof value, sizeof value);
  return static_cast<double>(std::bit_cast<float>(std::uint32_t{value} << 16));
}

/// Reads every node's outputs after it ran, until one is not finite.
class Search final : public NodeObserver {
 public:
  Search(Session& session, const Graph& graph) : session_(session), graph_(graph) {}

  void before(const PlannedNode&, const RunArgs&) override {}
  void after(const PlannedNode& planned, const RunArgs& args) override {
    const Node& node = graph_.nodes[static_cast<std::size_t>(planned.node)];
    for (std::size_t slot = 0; slot < planned.desc.outputs.size() && !found_; ++slot) {
      const TensorDesc& desc = planned.desc.outputs[slot];
      if (desc.dtype != DType::f32 && desc.dtype != DType::f64 && desc.dtype != DType::bf16) continue;
      bytes_.resize(desc.bytes());
      session_.download(bytes_.data(), args.out[slot], bytes_.size());
      for (std::int64_t i = 0; i < desc.elements(); ++i) {
        const double value = element(desc.dtype, bytes_.data(), static_cast<std::size_t>(i));
        if (std::isfinite(value)) continue;
        found_ = {0,
                  node.name,
                  planned.implementation->full_name(),
                  graph_.value(node.outputs[slot]).name,
                  i,
                  desc.elements(),
                  value};
        break;
      }
    }
  }
  const std::optional<NonfiniteValue>& found() const { return found_; }

 private:
  Session& session_;
  const Graph& graph_;
  std::vector<std::byte> bytes_;
  std::optional<NonfiniteValue> found_;
};

/// Ends a run from inside a step.
struct Found {
  NonfiniteValue value;
};

}  // namespace

std::optional<NonfiniteValue> find_nonfinite(Session& session, const DeviceImages& images,
                                             const RunSettings& run, const std::optional<Checkpoint>& good,
                                             std::int64_t bad_step) {
  Trainer trainer(session, images, run);
  if (good) trainer.restore(*good);
  // The update of one step may overflow so that the next one's loss does. A GPU's sums are read now and then
  // only, so there the step is not known so well.
  const bool known = session.device().info().kind != DeviceKind::cuda;
  const std::int64_t look_from = known ? bad_step - 2 : 0;
  trainer.watch(1, [&](Executor& executor, std::int64_t step) {
    if (step < look_from) return executor.run();
    Search search(session, executor.plan().graph);
    executor.run(search);
    if (!search.found()) return;
    NonfiniteValue value = *search.found();
    value.step = step;
    throw Found{std::move(value)};
  });
  try {
    TrainObserver silent;
    trainer.run(silent);
  } catch (const Found& found) {
    return found.value;
  } catch (const Error&) {  // the same end as before, and no node that caused it
  }
  return {};
}

std::string describe(const NonfiniteValue& value) {
  return fmt::format(
      "the first value that is not finite was {} in {}[{} of {}], written by {} [{}] in step {}", value.value,
      value.tensor, value.index, value.elements, value.node, value.implementation, value.step + 1);
}

}  // namespace quern
