#include "cli/step_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.hpp"
#include "io/text.hpp"

namespace quern::cli {
namespace {

/// JSON has no infinity.
nlohmann::json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

nlohmann::json to_json(const CheckedElement& element) {
  return {{"step", element.step},         {"slot", element.slot},
          {"index", element.index},       {"got", number(element.got)},
          {"want", number(element.want)}, {"tolerance", number(element.tolerance)}};
}

}  // namespace

StepCheck::StepCheck(Session& session, Trainer& trainer, std::int64_t every)
    : check_(session.registry(), session.device()), every_(every) {
  trainer.watch(every, [this](Executor& executor, std::int64_t step) { check_.run(executor, step); });
}

std::string StepCheck::table() const {
  std::vector<std::vector<std::string>> rows;
  for (const NodeCheck& node : check_.nodes()) {
    const CheckedElement& element = node.worst_element;
    rows.push_back({node.node, node.implementation, std::to_string(node.runs), with_commas(node.elements),
                    fmt::format("{:.3g}", node.worst), fmt::format("{:.1e}", node.relative_error),
                    node.worst > 0 ? fmt::format("{}{} of step {}", element.slot, element.index, element.step)
                                   : "every element equal"});
  }
  std::string text = format_table({"node", "implementation", ">steps", ">elements", ">|err|/(atol+rtol|ref|)",
                                   ">|err|/max|ref|", "worst element"},
                                  rows);
  if (check_.failure()) return text;
  const auto worst =
      std::max_element(check_.nodes().begin(), check_.nodes().end(),
                       [](const NodeCheck& a, const NodeCheck& b) { return a.worst < b.worst; });
  if (worst == check_.nodes().end()) return "no step was checked\n";
  return text + fmt::format("{} steps checked: every node is inside tolerance; the closest is {} at {:.3g}\n",
                            check_.steps(), worst->node, worst->worst);
}

nlohmann::json StepCheck::json() const {
  nlohmann::json nodes = nlohmann::json::array();
  for (const NodeCheck& node : check_.nodes())
    nodes.push_back({{"node", node.node},
                     {"implementation", node.implementation},
                     {"steps", node.runs},
                     {"elements", node.elements},
                     {"worst", number(node.worst)},
                     {"relative_error", number(node.relative_error)},
                     {"nmse", number(node.nmse)},
                     {"worst_element", node.worst > 0 ? to_json(node.worst_element) : nlohmann::json()}});
  nlohmann::json failure;
  if (const auto& found = check_.failure())
    failure = {{"node", found->node},
               {"implementation", found->implementation},
               {"element", to_json(found->element)},
               {"out_of_tolerance", found->count},
               {"elements", found->elements}};
  return {{"every", every_},
          {"steps", check_.steps()},
          {"nodes", std::move(nodes)},
          {"failure", std::move(failure)}};
}

}  // namespace quern::cli
