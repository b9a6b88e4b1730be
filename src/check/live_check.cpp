#include "quern/live_check.hpp"

#include <algorithm>
#include <cmath>

#include "check/compare.hpp"
#include "check/descs.hpp"
#include "check/oracle.hpp"
#include "quern/error.hpp"

namespace quern {

using namespace check;

namespace {

double largest(const HostTensor& tensor) {
  double result = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.elements()); ++i)
    if (const double magnitude = std::abs(tensor.value(i)); std::isfinite(magnitude))
      result = std::max(result, magnitude);
  return result;
}

double largest_error(const HostTensor& expected, const HostTensor& got) {
  double result = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(expected.elements()); ++i)
    if (const double error = std::abs(got.value(i) - expected.value(i)); std::isfinite(error))
      result = std::max(result, error);
  return result;
}

}  // namespace

struct LiveCheck::Impl final : NodeObserver {
  Device& device;
  std::unique_ptr<Device> own_cpu;
  Oracle oracle;
  const Plan* plan = nullptr;  // of the walk under way
  std::int64_t step = 0, steps = 0;
  Operands inputs;  // of the node under way, in fp32
  std::vector<NodeCheck> nodes;
  std::optional<NodeCheckFailure> failure;

  Impl(const Registry& registry, Device& d)
      : device(d),
        own_cpu(d.info().kind == DeviceKind::cpu ? nullptr : open_device("cpu")),
        oracle(registry, own_cpu ? *own_cpu : d, Oracle::Threads::all) {}

  Operands read(const std::vector<TensorDesc>& descs, std::span<void* const> addresses, Stream stream) {
    Operands operands;
    for (std::size_t i = 0; i < descs.size(); ++i) {
      operands.emplace_back(descs[i]);
      device.copy_to_host(operands.back().bytes.data(), addresses[i], operands.back().bytes.size(), stream);
    }
    device.synchronize(stream);
    return operands;
  }

  NodeCheck& row(const PlannedNode& planned) {
    const std::string& name = plan->graph.nodes[static_cast<std::size_t>(planned.node)].name;
    const std::string implementation = planned.implementation->full_name();
    const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const NodeCheck& node) {
      return node.node == name && node.implementation == implementation;
    });
    if (found != nodes.end()) return *found;
    nodes.emplace_back();
    nodes.back().node = name;
    nodes.back().implementation = implementation;
    return nodes.back();
  }

  void before(const PlannedNode& node, const RunArgs& args) override {
    inputs = read(node.desc.inputs, args.in, args.stream);
    for (HostTensor& input : inputs)
      if (input.desc.dtype == DType::bf16) input = converted(input, DType::f32);
  }

  void after(const PlannedNode& node, const RunArgs& args) override {
    const Operands outputs = read(node.desc.outputs, args.out, args.stream);
    const OpDesc desc = in_fp32(node.desc);
    const Operands expected = oracle.run(desc, inputs);
    const HostTensor normalised = normalised_image(desc, inputs, oracle);
    const SlotNames names = slot_names(desc);
    const Solved solved{node.desc, Tier::random, inputs, expected, /*floor=*/0};
    NodeCheck& result = row(node);
    ++result.runs;
    std::int64_t elements = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      elements += outputs[i].elements();
      const bool argmax = !normalised.bytes.empty() && names.outputs[i].name == "argmax";
      const Limits limits = limits_for(solved, argmax ? 0 : i, node.implementation->exact);
      const Comparison comparison =
          argmax ? compare_argmax({desc, inputs[0], inputs[1], normalised, limits}, expected[i], outputs[i])
                       .comparison
                 : compare(expected[i], outputs[i], limits);
      keep(result, std::string(names.outputs[i].name), comparison, expected[i], outputs[i], argmax, limits);
      if (comparison.deviation) fail(result, *comparison.deviation, names.outputs[i].name, outputs[i].desc);
    }
    result.elements = std::max(result.elements, elements);
  }

  void keep(NodeCheck& result, std::string slot, const Comparison& comparison, const HostTensor& expected,
            const HostTensor& got, bool argmax, const Limits& limits) const {
    result.nmse = std::max(result.nmse, comparison.nmse);
    // An index has no relative error.
    if (const double scale = argmax ? 0 : largest(expected); scale > 0)
      result.relative_error = std::max(result.relative_error, largest_error(expected, got) / scale);
    if (comparison.worst <= result.worst) return;
    result.worst = comparison.worst;
    result.worst_element = {step,
                            std::move(slot),
                            coordinates(expected.desc.shape, comparison.worst_index),
                            comparison.worst_got,
                            comparison.worst_expected,
                            limits.atol + limits.rtol * std::abs(comparison.worst_expected)};
  }

  [[noreturn]] void fail(const NodeCheck& node, const Deviation& deviation, std::string_view slot,
                         const TensorDesc& desc) {
    const bool whole = deviation.fault == Fault::nmse;
    failure =
        NodeCheckFailure{node.node,
                         node.implementation,
                         {step, std::string(slot), whole ? "" : coordinates(desc.shape, deviation.index),
                          deviation.got, deviation.expected, deviation.tolerance},
                         static_cast<std::int64_t>(deviation.count),
                         desc.elements()};
    if (whole)
      fail_check("step {}: {}: normalised squared error {:.3g} against the reference, at most {:.3g}", step,
                 slot, deviation.got, deviation.tolerance);
    fail_check(
        "step {}: {}{}: got {:.9g}, want {:.9g} (tolerance {:.3g}); {} of {} elements are out of tolerance "
        "against the reference",
        step, slot, failure->element.index, deviation.got, deviation.expected, deviation.tolerance,
        deviation.count, desc.elements());
  }
};

LiveCheck::LiveCheck(const Registry& registry, Device& device)
    : impl_(std::make_unique<Impl>(registry, device)) {}
LiveCheck::~LiveCheck() = default;

void LiveCheck::run(Executor& executor, std::int64_t step) {
  impl_->plan = &executor.plan();
  impl_->step = step;
  ++impl_->steps;
  executor.run(*impl_);
}

std::int64_t LiveCheck::steps() const noexcept {
  return impl_->steps;
}
const std::vector<NodeCheck>& LiveCheck::nodes() const noexcept {
  return impl_->nodes;
}
const std::optional<NodeCheckFailure>& LiveCheck::failure() const noexcept {
  return impl_->failure;
}

}  // namespace quern
