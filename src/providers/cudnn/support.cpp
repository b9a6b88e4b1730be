#include "providers/cudnn/support.hpp"

#include <limits>

#include "quern/error.hpp"

namespace quern::cudnn {

void add_entry(Registry& registry, Entry entry) {
  Implementation implementation;
  implementation.name = entry.name;
  implementation.provider = Provider::cudnn;
  implementation.op = entry.op;
  implementation.device = DeviceKind::cuda;
  implementation.refusal = [refusal = std::move(entry.refusal), library = std::move(entry.library)](
                               const OpDesc& desc, const DeviceInfo& device) -> Refusal {
    if (auto reason = refusal(desc, device)) return reason;
    if (!device.present) return {};
    if (auto reason = library_refusal()) return reason;
    try {
      Context::of(device.index);
      return library ? library(desc, device) : Refusal();
    } catch (const Error& error) {
      return error.what();
    }
  };
  implementation.prepare = std::move(entry.prepare);
  registry.add(std::move(implementation));
}

Refusal common_refusal(const OpDesc& desc, const DeviceInfo& device) {
  if (desc.precision == Precision::bf16 && device.sm < 80)
    return fmt::format("needs sm_80 or later for bf16, this is sm_{}", device.sm);
  for (const auto* list : {&desc.inputs, &desc.outputs})
    for (const TensorDesc& tensor : *list)
      if (tensor.elements() > std::numeric_limits<std::int32_t>::max())
        return fmt::format("needs tensors of fewer than 2^31 elements, got {}", to_string(tensor));
  return {};
}

}  // namespace quern::cudnn
