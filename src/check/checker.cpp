#include "check/checker.hpp"

#include <fmt/format.h>

#include "check/candidate.hpp"
#include "check/compare.hpp"
#include "check/descs.hpp"
#include "quern/error.hpp"

namespace quern::check {
namespace {

/// Thrown inside a check and turned into a FAIL.
struct Failed {
  CheckFailure failure;
  std::string reason;
  std::optional<CheckMismatch> mismatch;
};

[[noreturn]] void fail(CheckFailure failure, std::string reason) {
  throw Failed{failure, std::move(reason), {}};
}

CheckFailure failure_of(Fault fault) {
  switch (fault) {
    case Fault::nonfinite:
      return CheckFailure::nonfinite;
    case Fault::element:
      return CheckFailure::mismatch;
    case Fault::nmse:
      break;
  }
  return CheckFailure::nmse;
}

/// Runs the stages of one (case, implementation) pair; the first failure ends it.
class Check {
 public:
  Check(CaseData& data, const Implementation& implementation, Device& device, CheckResult& result)
      : data_(data),
        implementation_(implementation),
        device_(device),
        result_(result),
        desc_(at_precision(data.the_case().desc, data.precision())),
        names_(slot_names(desc_)),
        executable_(implementation.prepare(desc_, device)) {
    if (!executable_) fail(CheckFailure::error, "prepare() returned nothing");
  }

  void run() {
    if (has_exact_tier(data_.the_case()) && implementation_.exact) {
      compare_tier(Tier::exact);
      result_.exact_tier = true;
    }
    const auto [inputs, outputs] = compare_tier(Tier::random);
    repeat(inputs, outputs);
    overwrite(inputs, outputs);
  }
  void run_values() { compare_tier(Tier::random); }

 private:
  struct Run {
    Operands inputs, outputs;
  };

  Run compare_tier(Tier tier) {
    const CaseData::Solution& solution = data_.solution(tier);
    Operands inputs = stored_as(desc_, solution.inputs);
    RunOutcome outcome = run_fenced({desc_, inputs, *executable_, device_}, Poison::quiet_nan);
    if (outcome.trespass)
      fail(outcome.trespass->failure,
           fmt::format("{} {} ({} tier)", outcome.trespass->slot, outcome.trespass->detail, to_string(tier)));
    for (std::size_t i = 0; i < outcome.outputs.size(); ++i) {
      require_written(i, solution.expected[i], outcome.outputs[i], tier);
      compare_slot(i, solution, outcome.outputs[i], tier);
    }
    return {std::move(inputs), std::move(outcome.outputs)};
  }

  void require_written(std::size_t slot, const HostTensor& expected, const HostTensor& got, Tier tier) const {
    if (names_.outputs[slot].in_place >= 0) return;
    const bool is_float = got.desc.dtype != DType::u8 && got.desc.dtype != DType::i32;
    for (std::size_t i = 0; i < static_cast<std::size_t>(got.elements()); ++i)
      if (is_poison(got, i, Poison::quiet_nan) && (is_float || got.value(i) != expected.value(i)))
        fail(CheckFailure::unwritten, fmt::format("{}{} was not written ({} tier)", names_.outputs[slot].name,
                                                  coordinates(got.desc.shape, i), to_string(tier)));
  }

  void compare_slot(std::size_t slot, const CaseData::Solution& solution, const HostTensor& got, Tier tier) {
    const Solved solved{desc_, tier, solution.inputs, solution.expected};
    Comparison comparison;
    if (!solution.normalised.bytes.empty() && names_.outputs[slot].name == "argmax") {
      const Limits limits = limits_for(solved, 0, implementation_.exact);
      comparison = compare_argmax({data_.the_case().desc, solution.inputs[0], solution.inputs[1],
                                   solution.normalised, limits},
                                  solution.expected[slot], got)
                       .comparison;
    } else {
      // Small integers survive the rounding of operands, and their exact result is rounded once: where
      // stored.
      const HostTensor& expected = solution.expected[slot];
      const bool rounded = tier == Tier::exact && got.desc.dtype == DType::bf16;
      comparison = compare(rounded ? converted(expected, DType::bf16) : expected, got,
                           limits_for(solved, slot, implementation_.exact));
    }
    if (tier == Tier::random) {
      result_.worst = std::max(result_.worst, comparison.worst);
      result_.nmse = std::max(result_.nmse, comparison.nmse);
    }
    if (comparison.deviation) report(slot, *comparison.deviation, got.desc, tier);
  }

  [[noreturn]] void report(std::size_t slot, const Deviation& deviation, const TensorDesc& desc,
                           Tier tier) const {
    CheckMismatch mismatch;
    mismatch.slot = names_.outputs[slot].name;
    mismatch.got = deviation.got;
    mismatch.expected = deviation.expected;
    mismatch.tolerance = deviation.tolerance;
    mismatch.count = deviation.count;
    mismatch.elements = static_cast<std::size_t>(desc.elements());
    std::string reason;
    if (deviation.fault == Fault::nmse) {
      reason = fmt::format("{}: normalised squared error {:.3g}, at most {:.3g} ({} tier)", mismatch.slot,
                           deviation.got, deviation.tolerance, to_string(tier));
    } else {
      mismatch.index = coordinates(desc.shape, deviation.index);
      reason = fmt::format(
          "{}{}: got {:.9g}, expected {:.9g}, tolerance {:.3g}; {} of {} elements are wrong ({} tier)",
          mismatch.slot, mismatch.index, deviation.got, deviation.expected, deviation.tolerance,
          deviation.count, mismatch.elements, to_string(tier));
    }
    throw Failed{failure_of(deviation.fault), std::move(reason), std::move(mismatch)};
  }

  void require_same(const Operands& first, const Operands& second, CheckFailure failure,
                    std::string_view how) const {
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (first[i].same_bytes(second[i])) continue;
      const std::size_t size = size_of(first[i].desc.dtype);
      std::size_t element = 0;
      while (std::memcmp(&first[i].bytes[element * size], &second[i].bytes[element * size], size) == 0)
        ++element;
      fail(failure, fmt::format("{}{}: {:.9g} in the first run, {:.9g} {}", names_.outputs[i].name,
                                coordinates(first[i].desc.shape, element), first[i].value(element),
                                second[i].value(element), how));
    }
  }

  void repeat(const Operands& inputs, const Operands& outputs) {
    const Operands again = run_exact({desc_, inputs, *executable_, device_}, Poison::finite);
    require_same(outputs, again, CheckFailure::nondeterministic, "in a second one");
  }

  void overwrite(const Operands& inputs, const Operands& outputs) {
    for (const int input : overwritable_inputs(desc_.op)) {
      const Operands again = run_overwriting({desc_, inputs, *executable_, device_}, input, Poison::finite);
      require_same(outputs, again, CheckFailure::in_place,
                   fmt::format("written over {}", names_.inputs[static_cast<std::size_t>(input)]));
    }
  }

  CaseData& data_;
  const Implementation& implementation_;
  Device& device_;
  CheckResult& result_;
  OpDesc desc_;
  SlotNames names_;
  std::unique_ptr<Executable> executable_;
};

}  // namespace

const CaseData::Solution& CaseData::solution(Tier tier) {
  auto& solution = solutions_[tier == Tier::exact ? 0 : 1];
  if (!solution) {
    Solution made;
    made.inputs = fill_inputs(case_, tier, precision_, oracle_);
    made.expected = oracle_.run(case_.desc, made.inputs);
    made.normalised = normalised_image(case_.desc, made.inputs, oracle_);
    solution = std::move(made);
  }
  return *solution;
}

Operands stored_as(const OpDesc& desc, const Operands& inputs) {
  Operands result;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    result.push_back(converted(inputs[i], desc.inputs[i].dtype));
  return result;
}

CheckResult begin_result(const CaseData& data, const Implementation& implementation,
                         const DeviceInfo& device) {
  CheckResult result;
  result.op = data.the_case().desc.op;
  result.case_name = data.the_case().name;
  result.implementation = implementation.full_name();
  if (const Refusal refusal =
          implementation.refusal(at_precision(data.the_case().desc, data.precision()), device)) {
    result.status = CheckStatus::unsupported;
    result.reason = refusal->empty() ? "refused without a reason" : *refusal;
  }
  return result;
}

namespace {

CheckResult run_check(CaseData& data, const Implementation& implementation, Device& device,
                      void (Check::*stages)()) {
  CheckResult result = begin_result(data, implementation, device.info());
  if (result.status == CheckStatus::unsupported) return result;
  result.status = CheckStatus::fail;
  try {
    data.solution(Tier::random);
  } catch (const std::exception& error) {
    result.failure = CheckFailure::no_oracle;
    result.reason = error.what();
    return result;
  }
  try {
    Check check(data, implementation, device, result);
    (check.*stages)();
    result.status = CheckStatus::pass;
  } catch (Failed& failed) {
    result.failure = failed.failure;
    result.reason = std::move(failed.reason);
    result.mismatch = std::move(failed.mismatch);
  } catch (const std::exception& error) {
    result.failure = CheckFailure::error;
    result.reason = fmt::format("it threw: {}", error.what());
  }
  return result;
}

}  // namespace

CheckResult check_case(CaseData& data, const Implementation& implementation, Device& device) {
  return run_check(data, implementation, device, &Check::run);
}

CheckResult check_values(CaseData& data, const Implementation& implementation, Device& device) {
  return run_check(data, implementation, device, &Check::run_values);
}

}  // namespace quern::check
