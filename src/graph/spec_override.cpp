#include "graph/spec_override.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "graph/json_reader.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern {
namespace {

using Json = nlohmann::json;

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back().push_back(c);
  }
  return parts;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

/// One override on its way into a document.
class Override {
 public:
  explicit Override(const std::string& text) : text_(text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_input("--set {}: give FIELD=VALUE, such as layers.conv1.filters=16", text);
    path_ = split_path(std::string_view(text).substr(0, equals));
    const std::string value = text.substr(equals + 1);
    value_ = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (value_.is_discarded()) value_ = value;
  }

  /// `full` is the document's spec with every field in it: what may be set.
  void apply(Json& document, const Json& full) const {
    const std::string& section = path_.front();
    if (section == "layers")
      set_layer(document, full);
    else if (section == "input" || section == "recipe")
      set(object_in(document, section, full.at(section)), full.at(section), 1, section);
    else
      fail("a spec has layers.NAME.FIELD, input.FIELD and recipe.FIELD", section,
           {"layers", "input", "recipe"});
  }

 private:
  [[noreturn]] void fail(const std::string& message, const std::string& found,
                         const std::vector<std::string>& known) const {
    fail_input("--set {}: {}{}", text_, message, did_you_mean(found, known));
  }

  /// The object under `key`, taken from `full` where the document leaves it out or has the short form of it.
  static Json& object_in(Json& parent, const std::string& key, const Json& full) {
    if (!parent.contains(key) || !parent[key].is_object()) parent[key] = full;
    return parent[key];
  }

  void set_layer(Json& document, const Json& full) const {
    std::vector<std::string> names;
    for (const Json& layer : full.at("layers")) names.push_back(layer.at("name"));
    const std::string name = path_.size() > 1 ? path_[1] : "";
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      fail(fmt::format("there is no layer '{}': the layers are {}", name, fmt::join(names, ", ")), name,
           names);
    Json fields;
    for (const Json& layer : full.at("layers"))
      if (layer.at("name") == name) fields = layer;
    const std::string op = fields.at("op");
    fields.erase("name");
    fields.erase("op");
    for (Json& layer : document.at("layers"))
      if (layer.at("name") == name) set(layer, fields, 2, fmt::format("layer '{}' ({})", name, op));
  }

  /// Sets the field that the path's parts from `depth` on name.
  void set(Json& object, const Json& fields, std::size_t depth, const std::string& where) const {
    const std::vector<std::string> known = keys_of(fields);
    const std::string key = depth < path_.size() ? path_[depth] : "";
    if (!fields.contains(key))
      fail(fmt::format("{} has no field '{}': its fields are {}", where, key, fmt::join(known, ", ")), key,
           known);
    if (fields.at(key).is_object() && depth + 1 < path_.size())
      return set(object_in(object, key, fields.at(key)), fields.at(key), depth + 1, where + "." + key);
    if (depth + 1 < path_.size())
      fail_input("--set {}: '{}' of {} is a value and has no fields", text_, key, where);
    object[key] = value_;
  }

  std::string text_;
  std::vector<std::string> path_;
  Json value_;
};

ModelSpec parse_with(const SpecText& spec, std::span<const std::string> overrides) {
  ModelSpec parsed = parse_model_spec(spec.text, spec.where);
  if (overrides.empty()) return parsed;
  Json document = parse_json(spec.text, spec.where);
  const Json full = to_json(parsed);
  std::string where = spec.where;
  for (const std::string& text : overrides) {
    Override(text).apply(document, full);
    where += " --set " + text;
  }
  return parse_model_spec(document.dump(-1, ' ', false, Json::error_handler_t::replace), where);
}

}  // namespace

ModelSpec load_model_spec(const std::string& name_or_path, std::span<const std::string> overrides) {
  return with_clean_messages([&] { return parse_with(read_spec_text(name_or_path), overrides); });
}

ModelSpec override_spec(const ModelSpec& spec, std::span<const std::string> overrides) {
  return with_clean_messages([&] { return parse_with({to_json(spec).dump(), spec.name}, overrides); });
}

}  // namespace quern
