#include <algorithm>

#include "check/checker.hpp"
#include "check/emulator.hpp"
#include "check/select.hpp"
#include "quern/check.hpp"
#include "quern/error.hpp"

namespace quern {
namespace check {
namespace {

/// The kind of a device that could not be opened, from its name.
DeviceKind kind_of(const std::string& name) {
  if (name.starts_with("cuda")) return DeviceKind::cuda;
  return name == "emu" ? DeviceKind::emu : DeviceKind::cpu;
}

/// One walk over the selected cases.
class Run {
 public:
  Run(const Registry& registry, const CheckOptions& options) : registry_(registry), options_(options) {
    report_.mode = options.mode;
    report_.precision = options.precision;
    report_.device = report_.device_kind = options.device;
    cases_ = select_cases(options);
    report_.cases = cases_.size();
    if (options.assumed) {
      if (options.mode != CheckMode::support)
        fail_input("--assume is about a GPU that is not here: add --mode support");
      kind_ = options.assumed->kind;
      report_.device = options.assumed->name;
      report_.device_kind = to_string(kind_);
      require_known_implementation(registry, kind_, options);
      return;
    }
    try {
      device_ = open_device(options.device, options.threads);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::device) throw;
      report_.device_absent = true;
      report_.absence = error.what();
    }
    kind_ = device_ ? device_->info().kind : kind_of(options.device);
    if (options.races && kind_ != DeviceKind::emu)
      fail_input("--races looks for races in emulated kernels: add --device emu");
    if (!device_) return;
    report_.device = device_->info().name;
    report_.device_kind = to_string(kind_);
    require_known_implementation(registry, kind_, options);
  }

  CheckReport run() {
    report_.gaps = find_gaps(registry_, select_operations(options_.op), kind_, options_);
    if (options_.assumed) {
      ask_for_support(*options_.assumed);
    } else if (!device_) {
      all_not_run();
    } else if (options_.mode == CheckMode::support) {
      ask_for_support(device_->info());
    } else {
      run_cases();
    }
    return std::move(report_);
  }

 private:
  CheckResult blank(const Case& c, const Implementation& implementation) const {
    CheckResult result;
    result.op = c.desc.op;
    result.case_name = c.name;
    result.implementation = implementation.full_name();
    return result;
  }

  void all_not_run() {
    for (const Case* c : cases_)
      for (const Implementation* implementation :
           select_implementations(registry_, c->desc.op, kind_, options_)) {
        report_.results.push_back(blank(*c, *implementation));
        report_.results.back().reason = report_.absence;
      }
  }

  void ask_for_support(const DeviceInfo& device) {
    for (const Case* c : cases_) {
      const OpDesc desc = at_precision(c->desc, options_.precision);
      for (const Implementation* implementation :
           select_implementations(registry_, c->desc.op, kind_, options_)) {
        auto row = std::find_if(report_.support.begin(), report_.support.end(), [&](const CheckSupport& s) {
          return s.op == c->desc.op && s.implementation == implementation->full_name();
        });
        if (row == report_.support.end())
          row = report_.support.insert(row, {c->desc.op, implementation->full_name(), 0, 0, {}});
        const Refusal refusal = implementation->refusal(desc, device);
        ++(refusal ? row->refused : row->served);
        if (refusal) ++row->reasons[*refusal];
      }
    }
  }

  void run_cases() {
    const RaceDetection races(options_.races);
    // The oracle computes on the CPU, whatever the candidates' device is.
    std::unique_ptr<Device> own_cpu;
    if (kind_ != DeviceKind::cpu) own_cpu = open_device("cpu", options_.threads);
    const Oracle oracle(registry_, own_cpu ? *own_cpu : *device_);
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      const Case& c = *cases_[i];
      if (options_.progress) options_.progress(c.name, i, cases_.size());
      CaseData data(c, options_.precision, oracle);
      for (const Implementation* implementation :
           select_implementations(registry_, c.desc.op, kind_, options_)) {
        if (!lost_.empty()) {
          report_.results.push_back(blank(c, *implementation));
          report_.results.back().reason = lost_;
          continue;
        }
        report_.results.push_back(one(data, *implementation));
        if (report_.results.back().status == CheckStatus::fail && options_.fail_fast) return;
      }
    }
  }

  CheckResult one(CaseData& data, const Implementation& implementation) {
    if (options_.mode == CheckMode::grad) return check_gradient(data, implementation, *device_);
    CheckResult result = check_case(data, implementation, *device_);
    if (options_.mode == CheckMode::perf && result.status == CheckStatus::pass)
      result.timing = time_case(data, implementation, *device_, options_.repeats);
    if (result.failure == CheckFailure::error && kind_ == DeviceKind::cuda) probe(result);
    return result;
  }

  /// After a fault a CUDA context is lost, and everything else on it would fail for no reason of its own.
  void probe(const CheckResult& result) {
    try {
      const Buffer buffer(*device_, 256);
      device_->fill(buffer.data(), 0, buffer.size(), device_->stream());
      device_->synchronize(device_->stream());
    } catch (const Error&) {
      lost_ = fmt::format("the device was lost when {} ran {}", result.implementation, result.case_name);
    }
  }

  const Registry& registry_;
  const CheckOptions& options_;
  CheckReport report_;
  std::vector<const Case*> cases_;
  std::unique_ptr<Device> device_;
  DeviceKind kind_ = DeviceKind::cpu;
  std::string lost_;
};

}  // namespace
}  // namespace check

const char* to_string(CheckStatus status) noexcept {
  switch (status) {
    case CheckStatus::pass:
      return "PASS";
    case CheckStatus::fail:
      return "FAIL";
    case CheckStatus::unsupported:
      return "UNSUPPORTED";
    case CheckStatus::not_run:
      break;
  }
  return "NOT_RUN";
}

const char* to_string(CheckFailure failure) noexcept {
  switch (failure) {
    case CheckFailure::none:
      return "none";
    case CheckFailure::error:
      return "error";
    case CheckFailure::overrun:
      return "overrun";
    case CheckFailure::input_modified:
      return "input_modified";
    case CheckFailure::unwritten:
      return "unwritten";
    case CheckFailure::nonfinite:
      return "nonfinite";
    case CheckFailure::mismatch:
      return "mismatch";
    case CheckFailure::nmse:
      return "nmse";
    case CheckFailure::nondeterministic:
      return "nondeterministic";
    case CheckFailure::in_place:
      return "in_place";
    case CheckFailure::gradient:
      return "gradient";
    case CheckFailure::no_oracle:
      break;
  }
  return "no_oracle";
}

const char* to_string(CheckMode mode) noexcept {
  switch (mode) {
    case CheckMode::test:
      return "test";
    case CheckMode::grad:
      return "grad";
    case CheckMode::perf:
      return "perf";
    case CheckMode::support:
      break;
  }
  return "support";
}

std::vector<Provider> required_providers(DeviceKind kind) {
  std::vector<Provider> providers;
  if (kind == DeviceKind::cpu) {
    providers.push_back(Provider::reference);
#ifdef QUERN_HAVE_ONEDNN
    providers.push_back(Provider::onednn);
#endif
  } else {
#ifdef QUERN_HAVE_CUSTOM
    providers.push_back(Provider::custom);
#endif
  }
  return providers;
}

std::size_t CheckReport::count(CheckStatus status) const {
  return static_cast<std::size_t>(std::count_if(results.begin(), results.end(),
                                                [&](const CheckResult& r) { return r.status == status; }));
}

int CheckReport::exit_status() const {
  if (device_absent) return quern::exit_status(ErrorKind::device);
  const bool gap = std::any_of(gaps.begin(), gaps.end(), [](const CheckGap& g) { return g.required; });
  const bool verified = mode == CheckMode::support ? std::any_of(support.begin(), support.end(),
                                                                 [](const auto& s) { return s.served > 0; })
                                                   : count(CheckStatus::pass) > 0;
  const bool good = verified && !gap && count(CheckStatus::fail) == 0 && count(CheckStatus::not_run) == 0;
  return good ? 0 : quern::exit_status(ErrorKind::check);
}

CheckReport run_checks(const Registry& registry, const CheckOptions& options) {
  return check::Run(registry, options).run();
}

std::vector<std::string> list_checks(const CheckOptions& options) {
  std::vector<std::string> names;
  for (const check::Case* c : check::select_cases(options)) names.push_back(c->name);
  return names;
}

}  // namespace quern
