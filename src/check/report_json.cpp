// The report for machines.

#include <cmath>
#include <nlohmann/json.hpp>

#include "quern/check.hpp"

namespace quern {
namespace {

/// JSON has no NaN and no infinity: they are written as strings.
nlohmann::json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

nlohmann::json to_json(const CheckMismatch& m) {
  return {{"slot", m.slot},
          {"index", m.index},
          {"got", number(m.got)},
          {"expected", number(m.expected)},
          {"tolerance", number(m.tolerance)},
          {"wrong_elements", m.count},
          {"elements", m.elements}};
}

nlohmann::json to_json(const CheckResult& r) {
  nlohmann::json json = {{"op", to_string(r.op)},
                         {"case", r.case_name},
                         {"implementation", r.implementation},
                         {"status", to_string(r.status)}};
  if (r.failure != CheckFailure::none) json["failure"] = to_string(r.failure);
  if (!r.reason.empty()) json["reason"] = r.reason;
  if (r.mismatch) json["mismatch"] = to_json(*r.mismatch);
  if (r.status == CheckStatus::pass || r.status == CheckStatus::fail) {
    json["exact_tier"] = r.exact_tier;
    json["worst"] = number(r.worst);
    json["nmse"] = number(r.nmse);
  }
  if (r.timing)
    json["timing"] = {{"seconds", r.timing->seconds},
                      {"gflops", r.timing->gflops},
                      {"gigabytes", r.timing->gigabytes},
                      {"repeats", r.timing->repeats}};
  return json;
}

}  // namespace

std::string report_json(const CheckReport& report) {
  nlohmann::json json = {{"mode", to_string(report.mode)},
                         {"precision", to_string(report.precision)},
                         {"device", report.device},
                         {"device_kind", report.device_kind},
                         {"verdict", report.device_absent        ? "NOT_RUN"
                                     : report.exit_status() == 0 ? "PASS"
                                                                 : "FAIL"},
                         {"cases", report.cases},
                         {"passed", report.count(CheckStatus::pass)},
                         {"failed", report.count(CheckStatus::fail)},
                         {"unsupported", report.count(CheckStatus::unsupported)},
                         {"not_run", report.count(CheckStatus::not_run)},
                         {"missing", nlohmann::json::array()},
                         {"results", nlohmann::json::array()}};
  if (report.device_absent) json["reason"] = report.absence;
  for (const CheckGap& gap : report.gaps)
    json["missing"].push_back(
        {{"op", to_string(gap.op)}, {"provider", to_string(gap.provider)}, {"required", gap.required}});
  for (const CheckResult& result : report.results) json["results"].push_back(to_json(result));
  if (report.mode == CheckMode::support) {
    json["support"] = nlohmann::json::array();
    for (const CheckSupport& row : report.support)
      json["support"].push_back({{"op", to_string(row.op)},
                                 {"implementation", row.implementation},
                                 {"served", row.served},
                                 {"refused", row.refused},
                                 {"reasons", row.reasons}});
  }
  return json.dump();
}

}  // namespace quern
