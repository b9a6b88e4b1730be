#include "tests/graph_fuzz/node_check.hpp"

#include <cmath>

#include "check/compare.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::test {

check::Operands Operands::read(const std::vector<TensorDesc>& descs, std::span<void* const> addresses) const {
  check::Operands tensors;
  for (std::size_t i = 0; i < descs.size(); ++i) {
    tensors.emplace_back(descs[i]);
    device_.copy_to_host(tensors.back().bytes.data(), addresses[i], tensors.back().bytes.size(),
                         device_.stream());
  }
  device_.synchronize(device_.stream());
  return tensors;
}

void GraphCheck::after(const PlannedNode& node, const RunArgs& args) {
  operands_.after(node, args);
  ++nodes_;
  if (fault_) return;
  const check::Operands expected = oracle_.run(node.desc, operands_.inputs());
  const check::Solved solved{node.desc, check::Tier::random, operands_.inputs(), expected};
  const check::HostTensor image = check::normalised_image(node.desc, operands_.inputs(), oracle_);
  const check::SlotNames names = check::slot_names(node.desc);
  for (std::size_t slot = 0; slot < expected.size(); ++slot) {
    const check::HostTensor& got = operands_.outputs()[slot];
    const check::Limits limits = check::limits_for(solved, slot, node.implementation->exact);
    const check::Comparison comparison =
        !image.bytes.empty() && names.outputs[slot].name == "argmax"
            ? check::compare_argmax({node.desc, operands_.inputs()[0], operands_.inputs()[1], image,
                                     check::limits_for(solved, 0, node.implementation->exact)},
                                    expected[slot], got)
                  .comparison
            : check::compare(expected[slot], got, limits);
    if (!comparison.deviation) continue;
    const check::Deviation& deviation = *comparison.deviation;
    fault_ =
        fmt::format("node {} [{}], {}{}: got {:.9g}, expected {:.9g}, tolerance {:.3g}; {}",
                    graph_.nodes[static_cast<std::size_t>(node.node)].name, node.implementation->full_name(),
                    names.outputs[slot].name, check::coordinates(got.desc.shape, deviation.index),
                    deviation.got, deviation.expected, deviation.tolerance, describe(node.desc));
    return;
  }
}

void Disturbance::after(const PlannedNode& node, const RunArgs& args) {
  operands_.after(node, args);
  const check::Solved solved{node.desc, check::Tier::random, operands_.inputs(), operands_.outputs()};
  for (std::size_t slot = 0; slot < operands_.outputs().size(); ++slot) {
    if (node.desc.outputs[slot].dtype != DType::f32) continue;
    const check::Limits limits = check::limits_for(solved, slot, /*exact_algorithm=*/true);
    const bool keeps_sign =
        slot > 0 || node.desc.op.kind == OpKind::optimizer || node.desc.op.kind == OpKind::ema;
    auto* values = static_cast<float*>(args.out[slot]);
    for (std::int64_t i = 0; i < node.desc.outputs[slot].elements(); ++i) {
      // A zero is what a ReLU, a dropout or an unchosen pixel left; moving it would be another network.
      const double value = static_cast<double>(values[i]);
      const double uniform =
          static_cast<double>(uniform_from_u32(philox_u32(seed_, RandomPurpose::test, 3, 0, drawn_++)));
      if (value == 0 || !std::isfinite(value)) continue;
      const double moved = value + (uniform * 2 - 1) * (limits.atol + limits.rtol * std::abs(value)) / 4;
      // Variances and second moments stay positive; activations may cross zero, where a ReLU has its kink.
      values[i] = static_cast<float>(keeps_sign && moved * value < 0 ? value : moved);
    }
  }
}

}  // namespace quern::test
