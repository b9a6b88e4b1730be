#include <nlohmann/json.hpp>

#include "quern/profile.hpp"

namespace quern {
namespace {

constexpr int kSteps = 1, kNodes = 2;  // rows

nlohmann::json name_row(int row, const char* name) {
  return {{"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", row}, {"args", {{"name", name}}}};
}

nlohmann::json slice(int row, const std::string& name, const char* category, double begin, double seconds) {
  return {{"ph", "X"},  {"name", name},      {"cat", category},     {"pid", 1},
          {"tid", row}, {"ts", begin * 1e6}, {"dur", seconds * 1e6}};  // microseconds
}

}  // namespace

std::string chrome_trace(const std::vector<NodeProfile>& nodes, const std::string& title) {
  nlohmann::json events = nlohmann::json::array();
  events.push_back({{"ph", "M"}, {"name", "process_name"}, {"pid", 1}, {"args", {{"name", title}}}});
  events.push_back(name_row(kSteps, "steps"));
  events.push_back(name_row(kNodes, "nodes"));
  const std::size_t walks = nodes.empty() ? 0 : nodes.front().seconds.size();
  double origin = 0;  // of the walk, with the walks end to end
  for (std::size_t walk = 0; walk < walks; ++walk) {
    const double end = nodes.back().begin[walk] + nodes.back().seconds[walk];
    events.push_back(slice(kSteps, "step " + std::to_string(walk), "step", origin, end));
    for (const NodeProfile& node : nodes) {
      nlohmann::json event =
          slice(kNodes, node.node, to_string(node.phase), origin + node.begin[walk], node.seconds[walk]);
      const OpCost least = cost(node.desc);
      event["args"] = {{"implementation", node.implementation},
                       {"operation", describe(node.desc)},
                       {"bytes", least.bytes},
                       {"flops", least.flops}};
      events.push_back(std::move(event));
    }
    origin += end;
  }
  return nlohmann::json{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}}.dump();
}

}  // namespace quern
