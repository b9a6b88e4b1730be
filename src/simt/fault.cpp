#include "simt/simt.hpp"

namespace quern::simt {

const char* to_string(FaultKind kind) noexcept {
  switch (kind) {
    case FaultKind::launch:
      return "invalid launch";
    case FaultKind::divergent_barrier:
      return "divergent barrier";
    case FaultKind::early_exit:
      return "early exit";
    case FaultKind::collective:
      return "misused warp collective";
    case FaultKind::shared_overrun:
      return "shared-memory overrun";
    case FaultKind::global_overrun:
      return "device-memory overrun";
    case FaultKind::uninitialised:
      return "uninitialised read";
    case FaultKind::race:
      return "race";
    case FaultKind::stack_overflow:
      return "stack overflow";
    case FaultKind::no_progress:
      return "no progress";
    case FaultKind::misaligned:
      break;
  }
  return "misaligned access";
}

std::string to_string(const Fault& fault) {
  std::string text = fmt::format("kernel {}", fault.kernel);
  if (fault.block) text += fmt::format(", block ({},{},{})", fault.block->x, fault.block->y, fault.block->z);
  if (fault.thread)
    text += fmt::format(", thread ({},{},{})", fault.thread->x, fault.thread->y, fault.thread->z);
  if (fault.line != 0) text += fmt::format(", {}:{}", fault.file, fault.line);
  return text + fmt::format(": {}: {}", to_string(fault.kind), fault.message);
}

namespace {

std::string summary(const std::vector<Fault>& faults) {
  std::string text = to_string(faults.front());
  if (faults.size() > 1) text += fmt::format(" (and {} more)", faults.size() - 1);
  return text;
}

}  // namespace

KernelFault::KernelFault(std::vector<Fault> faults)
    : Error(ErrorKind::device, summary(faults)), faults_(std::move(faults)) {}

}  // namespace quern::simt
