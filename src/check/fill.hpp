#pragma once

/// Data for a case: what every operand holds, so that a comparison of results means something.
///
/// Two tiers. `exact`: small integers (and powers of two), so that every order of summation gives the same
/// bits. `random`: uniform numbers. In both, operands that an earlier operation would have written (saved
/// statistics, an argmax, a ReLU's result, statistics of an epilogue) are computed from the other operands by
/// the reference's forward direction, so that a backward may rely on them, and choices such as "x > 0" are
/// the operand's own: no implementation has to repeat a rounding to take the same side.

#include "check/case.hpp"
#include "check/operands.hpp"
#include "check/oracle.hpp"
#include "check/tolerance.hpp"

namespace quern::check {

/// Inputs in the types of `c.desc` (fp32). For bf16 activations hold values that bf16 can represent. The
/// numbers depend on the case's name, the tier and the slot alone (Philox, purpose test).
Operands fill_inputs(const Case& c, Tier tier, Precision precision, const Oracle& oracle);

}  // namespace quern::check
