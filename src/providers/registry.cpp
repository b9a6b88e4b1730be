#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern {

const char* to_string(Provider provider) noexcept {
  switch (provider) {
    case Provider::reference:
      return "reference";
    case Provider::onednn:
      return "onednn";
    case Provider::custom:
      return "custom";
    case Provider::cudnn:
      return "cudnn";
    case Provider::cublas:
      return "cublas";
    case Provider::user:
      break;
  }
  return "user";
}

void Registry::add(Implementation implementation) {
  QUERN_REQUIRE(implementation.refusal && implementation.prepare, "{} for {} lacks its functions",
                implementation.full_name(), to_string(implementation.op));
  auto& table = tables_[implementation.op];
  for (const Implementation& present : table)
    QUERN_REQUIRE(
        present.full_name() != implementation.full_name() || present.device != implementation.device,
        "{} for {} is registered twice", implementation.full_name(), to_string(implementation.op));
  if (!implementation.merges)
    implementation.refusal = [refusal = std::move(implementation.refusal)](
                                 const OpDesc& desc, const DeviceInfo& device) -> Refusal {
      if (is_merged(desc)) return "does not know what other nodes were merged into this one";
      return refusal(desc, device);
    };
  table.push_back(std::move(implementation));
}

std::span<const Implementation> Registry::candidates(OpKey op) const {
  const auto found = tables_.find(op);
  if (found == tables_.end()) return {};
  return found->second;
}

}  // namespace quern
