#include "providers/onednn/support.hpp"

#include <fmt/format.h>

#include <limits>

namespace quern::onednn {

void run_team(int parts, int phases, const std::function<void(int part, int phase)>& phase) {
  detail::run_job({[](const void* context, int part, int index) {
                     (*static_cast<const std::function<void(int, int)>*>(context))(part, index);
                   },
                   &phase, parts, phases});
}

void ImageExecutable::run(const RunArgs& args) {
  run_team(parts_, prepare_phases() + 1 + finish_phases(), [this, &args](int part, int phase) {
    const int after = phase - prepare_phases();
    if (after < 0)
      prepare(args, phase, part);
    else if (after == 0)
      run_share(args, part);
    else
      finish(args, after - 1, part);
  });
}

Refusal common_refusal(const OpDesc& desc) {
  if (desc.precision != Precision::fp32)
    return fmt::format("computes in fp32 only, not {}", to_string(desc.precision));
  for (const auto* list : {&desc.inputs, &desc.outputs})
    for (const TensorDesc& tensor : *list)
      for (const std::int64_t extent : tensor.shape.extents())
        if (extent > std::numeric_limits<std::int32_t>::max())
          return fmt::format("needs extents below 2^31, got {}", to_string(tensor));
  return std::nullopt;
}

void add_implementation(Registry& registry, const char* name, OpKey op, RefusalFunction refusal,
                        std::function<std::unique_ptr<Executable>(const OpDesc&, Device&)> prepare,
                        bool exact) {
  Implementation implementation;
  implementation.name = name;
  implementation.provider = Provider::onednn;
  implementation.op = op;
  implementation.device = DeviceKind::cpu;
  implementation.refusal = [refusal](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (auto reason = common_refusal(desc)) return reason;
    return refusal(desc);
  };
  implementation.prepare = std::move(prepare);
  implementation.exact = exact;
  registry.add(std::move(implementation));
}

int parts_for(const OpDesc& desc, const Device& device) {
  // A thread's rough rates on operands in cache: 50 GFLOP/s, 20 GB/s.
  const OpCost floor = cost(desc);
  const int parts = worthwhile(device.info().threads, floor.flops / 50.0 + floor.bytes / 20.0);
  reserve_threads(parts);
  return parts;
}

}  // namespace quern::onednn
