// The report for people.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/check.hpp"

namespace quern {
namespace {

/// At most this many failures of one operation and implementation are printed; the table counts all.
constexpr std::size_t kListedFailures = 8;

using Row = std::vector<std::string>;

std::size_t width_of(const std::string& text) {
  return text.size();
}

/// Columns as wide as their longest cell; those from `first_number` on aligned to the right.
std::string table(const std::vector<Row>& rows, std::size_t first_number) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i < first_number ? fmt::format("{:<{}}  ", row[i], widths[i])
                               : fmt::format("{:>{}}  ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

/// What one implementation did on one operation.
struct Group {
  OpKey op;
  std::string implementation;
  std::size_t cases = 0, exact = 0, pass = 0, fail = 0, unsupported = 0, not_run = 0;
  double worst = 0;
  std::vector<const CheckResult*> failures;
  std::map<std::string, std::size_t> refusals;
};

std::vector<Group> group(const CheckReport& report) {
  std::vector<Group> groups;
  for (const CheckResult& result : report.results) {
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return g.op == result.op && g.implementation == result.implementation;
    });
    if (found == groups.end()) found = groups.insert(found, Group{result.op, result.implementation});
    ++found->cases;
    found->exact += result.exact_tier ? 1 : 0;
    found->worst = std::max(found->worst, result.worst);
    switch (result.status) {
      case CheckStatus::pass:
        ++found->pass;
        break;
      case CheckStatus::fail:
        ++found->fail;
        found->failures.push_back(&result);
        break;
      case CheckStatus::unsupported:
        ++found->unsupported;
        ++found->refusals[result.reason];
        break;
      case CheckStatus::not_run:
        ++found->not_run;
        break;
    }
  }
  // Results come case by case; the table reads operation by operation.
  const auto& order = all_operations();
  std::stable_sort(groups.begin(), groups.end(), [&](const Group& a, const Group& b) {
    return std::find(order.begin(), order.end(), a.op) < std::find(order.begin(), order.end(), b.op);
  });
  return groups;
}

std::string worst_text(const Group& g) {
  if (g.pass + g.fail == 0) return "-";
  return std::isfinite(g.worst) ? fmt::format("{:.2g}", g.worst) : "wrong";
}

std::string number(std::size_t n) {
  return n == 0 ? "-" : std::to_string(n);
}

std::string results_table(const std::vector<Group>& groups) {
  std::vector<Row> rows = {{"operation", "implementation", "cases", "exact", "pass", "FAIL", "unsupported",
                            "not run", "error/tolerance"}};
  for (const Group& g : groups)
    rows.push_back({to_string(g.op), g.implementation, number(g.cases), number(g.exact), number(g.pass),
                    number(g.fail), number(g.unsupported), number(g.not_run), worst_text(g)});
  return table(rows, 2);
}

std::string refusals(const std::vector<Group>& groups) {
  std::string text;
  for (const Group& g : groups)
    for (const auto& [reason, count] : g.refusals)
      text += fmt::format("  {} {}: {} ({} cases)\n", to_string(g.op), g.implementation, reason, count);
  return text.empty() ? text : "\nUnsupported:\n" + text;
}

std::string repeat_command(const CheckReport& report, const CheckResult& result) {
  std::string command = fmt::format("quern check --device {} --impl {} --case {}", report.device_kind,
                                    result.implementation, result.case_name);
  if (report.mode != CheckMode::test) command += fmt::format(" --mode {}", to_string(report.mode));
  if (report.precision != Precision::fp32)
    command += fmt::format(" --precision {}", to_string(report.precision));
  return command;
}

std::string failures(const CheckReport& report, const std::vector<Group>& groups) {
  std::string text;
  for (const Group& g : groups) {
    for (std::size_t i = 0; i < std::min(g.failures.size(), kListedFailures); ++i) {
      const CheckResult& result = *g.failures[i];
      text += fmt::format("\nFAIL {}  {}\n  {}: {}\n  repeat: {}\n", result.case_name, result.implementation,
                          to_string(result.failure), result.reason, repeat_command(report, result));
    }
    if (g.failures.size() > kListedFailures)
      text += fmt::format("\n... and {} more failures of {} in {}\n", g.failures.size() - kListedFailures,
                          g.implementation, to_string(g.op));
  }
  return text;
}

std::string gaps(const CheckReport& report) {
  std::string text;
  for (const CheckGap& gap : report.gaps)
    text += fmt::format("{}  {}: none on {}{}\n", gap.required ? "MISSING" : "none   ",
                        to_string(gap.provider), report.device_kind, fmt::format(", {}", to_string(gap.op)));
  return text.empty() ? text : "\nNo implementation at all:\n" + text;
}

std::string timings(const CheckReport& report) {
  std::vector<Row> rows = {{"case", "implementation", "us", "GFLOP/s", "GB/s"}};
  for (const CheckResult& result : report.results) {
    if (result.timing)
      rows.push_back(
          {result.case_name, result.implementation, fmt::format("{:.2f}", result.timing->seconds * 1e6),
           fmt::format("{:.2f}", result.timing->gflops), fmt::format("{:.2f}", result.timing->gigabytes)});
    else if (result.status == CheckStatus::fail)
      rows.push_back({result.case_name, result.implementation, "not timed: wrong", "-", "-"});
  }
  return table(rows, 2) + '\n';
}

std::string support_table(const CheckReport& report) {
  std::vector<Row> rows = {{"operation", "implementation", "serves", "refuses"}};
  std::string reasons;
  for (const CheckSupport& row : report.support) {
    rows.push_back({to_string(row.op), row.implementation, number(row.served), number(row.refused)});
    for (const auto& [reason, count] : row.reasons)
      reasons +=
          fmt::format("  {} {}: {} ({} cases)\n", to_string(row.op), row.implementation, reason, count);
  }
  return table(rows, 2) + (reasons.empty() ? "" : "\nRefusals:\n" + reasons);
}

std::string verdict(const CheckReport& report) {
  const auto count = [&](CheckStatus status) { return report.count(status); };
  if (report.device_absent) return fmt::format("NOT_RUN: {} ({} cases)", report.absence, report.cases);
  const std::size_t missing = static_cast<std::size_t>(
      std::count_if(report.gaps.begin(), report.gaps.end(), [](const CheckGap& g) { return g.required; }));
  const char* word = report.exit_status() == 0 ? "PASS" : "FAIL";
  if (report.mode == CheckMode::support)
    return fmt::format("{}: {} cases, {} missing implementations on {}", word, report.cases, missing,
                       report.device);
  std::string text =
      fmt::format("{}: {} cases on {}: {} passed, {} failed, {} unsupported, {} not run", word, report.cases,
                  report.device, count(CheckStatus::pass), count(CheckStatus::fail),
                  count(CheckStatus::unsupported), count(CheckStatus::not_run));
  if (missing > 0) text += fmt::format(", {} missing implementations", missing);
  if (count(CheckStatus::pass) == 0) text += "; nothing was verified";
  return text;
}

}  // namespace

std::string format_report(const CheckReport& report) {
  const std::vector<Group> groups = group(report);
  std::string text;
  if (report.mode == CheckMode::perf) text += timings(report);
  if (report.mode == CheckMode::support)
    text += support_table(report);
  else if (!groups.empty())
    text += results_table(groups) + refusals(groups) + failures(report, groups);
  text += gaps(report);
  return text + (text.empty() ? "" : "\n") + verdict(report) + '\n';
}

}  // namespace quern
