#include "quern/graph.hpp"

#include <set>

#include "quern/error.hpp"

namespace quern {

const char* to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::input:
      return "input";
    case Phase::forward:
      return "forward";
    case Phase::loss:
      return "loss";
    case Phase::backward:
      return "backward";
    case Phase::update:
      break;
  }
  return "update";
}

ValueId Graph::add_value(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::root(ValueId id) const {
  while (value(id).alias_of != kNoValue) id = value(id).alias_of;
  return id;
}

std::size_t Graph::root_offset(ValueId id) const {
  std::size_t offset = 0;
  for (; value(id).alias_of != kNoValue; id = value(id).alias_of) offset += value(id).alias_offset;
  return offset;
}

ValueId Graph::find(std::string_view name) const {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i].name == name) return static_cast<ValueId>(i);
  fail_input("the graph has no value named '{}'", name);
}

OpDesc Graph::desc(const Node& node) const {
  OpDesc desc{node.op, node.attrs, {}, {}, precision};
  for (const ValueId id : node.inputs) desc.inputs.push_back(value(id).desc);
  for (const ValueId id : node.outputs) desc.outputs.push_back(value(id).desc);
  return desc;
}

void Graph::validate() const {
  for (const Value& v : values)
    if (v.alias_of != kNoValue)
      QUERN_REQUIRE(v.alias_offset + v.desc.bytes() <= value(v.alias_of).desc.bytes(),
                    "view '{}' leaves its owner", v.name);
  std::set<ValueId> written;
  for (const Node& node : nodes) {
    try {
      quern::validate(desc(node));
    } catch (const Error& error) {
      throw Error(error.kind(), fmt::format("node '{}': {}", node.name, error.what()));
    }
    for (const ValueId id : node.inputs)
      QUERN_REQUIRE(value(root(id)).storage != Storage::transient || written.contains(root(id)),
                    "node '{}' reads '{}' before anyone wrote it", node.name, value(id).name);
    for (const ValueId id : node.outputs) {
      QUERN_REQUIRE(value(root(id)).storage != Storage::external, "node '{}' writes '{}', which is read-only",
                    node.name, value(id).name);
      written.insert(root(id));
    }
  }
}

}  // namespace quern
