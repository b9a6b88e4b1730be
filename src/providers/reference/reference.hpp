#pragma once

/// The oracle: every operation of quern/op.hpp, written to be evidently what the definition says.
///
/// Loops are naive, sums run in double in a fixed order, and no code is shared with any other provider. Work
/// is split over threads only between results that are computed independently, so that the bits do not depend
/// on the number of threads.

#include "quern/implementation.hpp"

namespace quern::reference {

/// Computes one operation that validate() accepts. `Real` is the type in which its f32 operands are stored:
/// float everywhere, double for the tests that differentiate the very same code numerically. (bf16 operands
/// are bf16 under both.) Throws an internal error for indices and labels that are out of range.
template <class Real>
void run(const OpDesc& desc, const RunArgs& args);

extern template void run<float>(const OpDesc&, const RunArgs&);
extern template void run<double>(const OpDesc&, const RunArgs&);

}  // namespace quern::reference
