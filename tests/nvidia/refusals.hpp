#pragma once

/// Asking a provider about operations on a GPU that is only described.

#include <string>

#include "quern/implementation.hpp"

namespace quern::test {

inline DeviceInfo described_gpu(int sm) {
  DeviceInfo info;
  info.kind = DeviceKind::cuda;
  info.name = "described";
  info.sm = sm;
  info.multiprocessors = 132;
  info.present = false;
  return info;
}

/// The only implementation of the operation in `registry`; "serves" or its refusal.
inline std::string answer(const Registry& registry, const OpDesc& desc, int sm = 90) {
  validate(desc);
  const auto candidates = registry.candidates(desc.op);
  if (candidates.size() != 1) return std::to_string(candidates.size()) + " implementations";
  return candidates[0].refusal(desc, described_gpu(sm)).value_or("serves");
}

}  // namespace quern::test
