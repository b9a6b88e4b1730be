#pragma once

/// Running one prepared implementation on given inputs and watching what it touches.

#include <string>

#include "check/fenced.hpp"
#include "check/operands.hpp"
#include "quern/check.hpp"
#include "quern/implementation.hpp"

namespace quern::check {

/// What went wrong apart from the values; `detail` is a sentence.
struct Trespass {
  CheckFailure failure;
  std::string slot;
  std::string detail;
};

struct RunOutcome {
  Operands outputs;  ///< in the types of the candidate's description
  std::optional<Trespass> trespass;
};

/// `desc` and `inputs` in the candidate's own precision.
struct Job {
  const OpDesc& desc;
  const Operands& inputs;
  Executable& executable;
  Device& device;
};

/// One run with every operand and the workspace between guard bands. Checks the bands, and that inputs that
/// are no in-place operands were left alone. Whatever the implementation throws passes through.
RunOutcome run_fenced(const Job& job, Poison pattern);

/// One run in allocations of exactly the declared sizes, with the other poison.
Operands run_exact(const Job& job, Poison pattern);

/// One run with output 0 written over input `input` (see overwritable_inputs).
Operands run_overwriting(const Job& job, int input, Poison pattern);

}  // namespace quern::check
