#pragma once

/// One case against one implementation.

#include <optional>

#include "check/case.hpp"
#include "check/fill.hpp"
#include "check/tolerance.hpp"
#include "quern/check.hpp"

namespace quern::check {

/// What all implementations share of a case: inputs and the oracle's answers, made when first asked for.
class CaseData {
 public:
  CaseData(const Case& c, Precision precision, const Oracle& oracle)
      : case_(c), precision_(precision), oracle_(oracle) {}

  struct Solution {
    Operands inputs, expected;  ///< in fp32
    HostTensor normalised;      ///< fused batch norm + pooling: the image before ReLU and pooling, else empty
  };
  const Solution& solution(Tier tier);
  const Case& the_case() const noexcept { return case_; }
  Precision precision() const noexcept { return precision_; }
  const Oracle& oracle() const noexcept { return oracle_; }

 private:
  const Case& case_;
  Precision precision_;
  const Oracle& oracle_;
  std::optional<Solution> solutions_[2];
};

/// Mode test: the tiers, the fences, the repetition. Never throws what the implementation threw.
CheckResult check_case(CaseData& data, const Implementation& implementation, Device& device);

/// The random tier alone, between guard bands: whether a result may be timed. Never throws what the
/// implementation threw.
CheckResult check_values(CaseData& data, const Implementation& implementation, Device& device);

/// Mode grad: outputs of a backward direction against central differences of the forward, in double.
CheckResult check_gradient(CaseData& data, const Implementation& implementation, Device& device);

/// Mode perf: the time of a case that has just passed.
CheckTiming time_case(CaseData& data, const Implementation& implementation, Device& device, int repeats);

/// A result with its names filled in; UNSUPPORTED with the reason where the implementation refuses.
CheckResult begin_result(const CaseData& data, const Implementation& implementation,
                         const DeviceInfo& device);

/// Inputs in the types of `desc`, which may store activations as bf16.
Operands stored_as(const OpDesc& desc, const Operands& inputs);

}  // namespace quern::check
