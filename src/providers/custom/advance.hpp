#pragma once

/// What kernels that move the step's scalars on have in common (`advance` in quern/op.hpp).

#include "kernels/advance_args.hpp"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

/// Entries of the table; 0 where the node does not advance.
inline std::uint32_t advance_count(bool advance, const OpDesc& desc) {
  return advance ? static_cast<std::uint32_t>(desc.inputs.back().shape[0]) : 0;
}

/// The table is the last input, the scalars are the last output.
inline void bind_advance(kernels::AdvanceArgs& args, const RunArgs& run) {
  if (args.count == 0) return;
  args.step = output<StepScalars>(run, run.out.size() - 1);
  args.steps = input<StepScalars>(run, run.in.size() - 1);
}

}  // namespace quern
