#include "quern/model_spec.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/json_reader.hpp"
#include "graph/spec_override.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/suggest.hpp"

namespace quern {
namespace {

constexpr std::int64_t kMaxExtent = 1 << 16;  // of images and windows
constexpr std::int64_t kMaxUnits = 1 << 20;
constexpr std::uint64_t kLargestSpec = 4 << 20;  // of its text, in bytes

const std::vector<std::string>& layer_ops() {
  static const std::vector<std::string> names = {"conv2d",    "dense",     "batchnorm",      "relu",
                                                 "maxpool2d", "avgpool2d", "global_avgpool", "dropout",
                                                 "add",       "flatten"};
  return names;
}

OpKind parse_layer_op(const std::string& text, const std::string& where) {
  for (int i = 0; i < kOpKinds; ++i) {
    const auto kind = static_cast<OpKind>(i);
    const auto& ops = layer_ops();
    if (text == to_string(kind) && std::find(ops.begin(), ops.end(), text) != ops.end()) return kind;
  }
  fail_input("{}: unknown op '{}': choose one of {}{}", where, text, fmt::join(layer_ops(), ", "),
             did_you_mean(text, layer_ops()));
}

Padding parse_padding(JsonReader& reader) {
  Padding padding;
  if (!reader.has("padding")) return padding;
  const nlohmann::json& value = reader.raw("padding");
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (text == "same") {
      padding.kind = Padding::Kind::same;
    } else if (text != "valid") {
      reader.fail(fmt::format(
          "'padding' is '{}': use \"same\", \"valid\", a number, [h, w] or [top, left, bottom, right]",
          text));
    }
    return padding;
  }
  padding.kind = Padding::Kind::fixed;
  const std::size_t count = value.is_array() && value.size() == 4 ? 4 : 2;
  const auto extents = reader.integers("padding", count, 0, kMaxExtent);
  padding.top = static_cast<int>(extents[0]);
  padding.left = static_cast<int>(extents[1]);
  padding.bottom = static_cast<int>(extents[count - 2]);
  padding.right = static_cast<int>(extents[count - 1]);
  return padding;
}

void parse_pair(JsonReader& reader, const char* key, std::int64_t low, int& h, int& w) {
  if (!reader.has(key)) return;
  const auto pair = reader.integers(key, 2, low, kMaxExtent);
  h = static_cast<int>(pair[0]);
  w = static_cast<int>(pair[1]);
}

LayerSpec parse_layer(const nlohmann::json& json, const std::string& where, const std::string& previous) {
  JsonReader reader(json, where);
  LayerSpec layer;
  layer.name = reader.string("name");
  // Names of the nodes that the engine adds itself.
  static const std::set<std::string> kReserved{"input", "loss", "metrics", "optimizer", "ema"};
  if (layer.name.empty() || layer.name.size() > 128 || kReserved.contains(layer.name) ||
      layer.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
          std::string::npos)
    reader.fail(fmt::format("'{}' is no layer name: use letters, digits, '_' and '-', and none of {}",
                            layer.name, fmt::join(kReserved, ", ")));
  layer.kind = parse_layer_op(reader.string("op"), where);
  if (reader.has("inputs")) {
    const nlohmann::json& inputs = reader.raw("inputs");
    if (!inputs.is_array() || inputs.empty() ||
        !std::all_of(inputs.begin(), inputs.end(), [](const auto& name) { return name.is_string(); }))
      reader.fail("'inputs' must be a list of layer names");
    layer.inputs = inputs.get<std::vector<std::string>>();
  } else {
    layer.inputs = {previous};
  }
  switch (layer.kind) {
    case OpKind::conv2d:
      layer.units = reader.integer("filters", 1, kMaxUnits);
      if (!reader.has("kernel")) reader.fail("'kernel' is missing");
      parse_pair(reader, "kernel", 1, layer.kernel_h, layer.kernel_w);
      parse_pair(reader, "stride", 1, layer.stride_h, layer.stride_w);
      parse_pair(reader, "dilation", 1, layer.dilation_h, layer.dilation_w);
      layer.groups = static_cast<int>(reader.integer("groups", 1, kMaxUnits, 1));
      layer.bias = reader.boolean("bias", true);
      layer.padding = parse_padding(reader);
      break;
    case OpKind::dense:
      layer.units = reader.integer("units", 1, kMaxUnits);
      layer.bias = reader.boolean("bias", true);
      break;
    case OpKind::batchnorm:
      layer.momentum = static_cast<float>(reader.number("momentum", 0, 1, 0.99));
      layer.epsilon = static_cast<float>(reader.number("epsilon", 1e-12, 1, 1e-3));
      break;
    case OpKind::maxpool2d:
    case OpKind::avgpool2d:
      layer.kernel_h = layer.kernel_w = 2;
      parse_pair(reader, "kernel", 1, layer.kernel_h, layer.kernel_w);
      layer.stride_h = layer.kernel_h;
      layer.stride_w = layer.kernel_w;
      parse_pair(reader, "stride", 1, layer.stride_h, layer.stride_w);
      layer.padding = parse_padding(reader);
      if (layer.kind == OpKind::avgpool2d)
        layer.count_include_pad = reader.boolean("count_include_pad", false);
      break;
    case OpKind::dropout:
      layer.rate = static_cast<float>(reader.number("rate", 0, 0.999));
      break;
    default:
      break;
  }
  const std::size_t operands = layer.kind == OpKind::add ? 2 : 1;
  if (layer.inputs.size() != operands)
    reader.fail(fmt::format("{} takes {} input{}, found {}", to_string(layer.kind), operands,
                            operands == 1 ? "" : "s", layer.inputs.size()));
  reader.finish();
  return layer;
}

/// "'a' reads 'b', 'b' reads 'a'": one cycle among layers none of which can come first.
std::string describe_cycle(const std::vector<LayerSpec>& stuck) {
  const auto stuck_input = [&](const LayerSpec& layer) {
    for (const std::string& input : layer.inputs)
      for (const LayerSpec& other : stuck)
        if (other.name == input) return &other;
    return &layer;  // not reached: a layer is stuck because an input of it is
  };
  // Walking from input to input among finitely many layers ends in a cycle; those before it only hang on it.
  const LayerSpec* inside = &stuck.front();
  for (std::size_t i = 0; i < stuck.size(); ++i) inside = stuck_input(*inside);
  const LayerSpec* start = inside;  // becomes the one written first
  for (const LayerSpec* next = stuck_input(*inside); next != inside; next = stuck_input(*next))
    start = std::min(start, next);
  constexpr std::size_t kLongest = 500;  // of a message that names layer after layer
  std::string links;
  const LayerSpec* layer = start;
  do {
    if (links.size() > kLongest) return links + ", ...";
    const LayerSpec* input = stuck_input(*layer);
    links += fmt::format("{}'{}' reads '{}'", links.empty() ? "" : ", ", layer->name, input->name);
    layer = input;
  } while (layer != start);
  return links;
}

/// Puts layers in an order where inputs come first, keeping the written order where it is already one.
std::vector<LayerSpec> sort_layers(std::vector<LayerSpec> layers, const std::string& where) {
  std::vector<std::string> names{"input"};
  for (const LayerSpec& layer : layers) {
    if (std::find(names.begin(), names.end(), layer.name) != names.end())
      fail_input("{}: two layers are named '{}': names must be unique", where, layer.name);
    names.push_back(layer.name);
  }
  std::set<std::string> read;
  for (const LayerSpec& layer : layers)
    for (const std::string& input : layer.inputs) {
      if (std::find(names.begin(), names.end(), input) == names.end())
        fail_input("{}: layer '{}' reads '{}', which does not exist{}", where, layer.name, input,
                   did_you_mean(input, names));
      read.insert(input);
    }

  const std::string output = layers.back().name;
  std::vector<LayerSpec> sorted;
  std::set<std::string> ready{"input"};
  while (!layers.empty()) {
    const auto next = std::find_if(layers.begin(), layers.end(), [&](const LayerSpec& layer) {
      return std::all_of(layer.inputs.begin(), layer.inputs.end(),
                         [&](const std::string& input) { return ready.contains(input); });
    });
    // Before anything else that may be wrong: a cycle often is why 'input' is left unread.
    if (next == layers.end())
      fail_input("{}: the layers form a cycle: {}; break the loop in their 'inputs'", where,
                 describe_cycle(layers));
    ready.insert(next->name);
    sorted.push_back(std::move(*next));
    layers.erase(next);
  }

  for (const std::string& name : names)
    if (name != output && !read.contains(name))
      fail_input("{}: nobody reads layer '{}': connect it or remove it (the last layer, '{}', is the output)",
                 where, name, output);
  if (read.contains(output))
    fail_input("{}: the last layer '{}' gives the logits, but another layer reads it: list the output last",
               where, output);
  return sorted;
}

nlohmann::json short_number(float value) {
  return nlohmann::json::parse(fmt::format("{}", value));
}

nlohmann::json padding_json(const Padding& padding) {
  switch (padding.kind) {
    case Padding::Kind::same:
      return "same";
    case Padding::Kind::valid:
      return "valid";
    case Padding::Kind::fixed:
      break;
  }
  return nlohmann::json::array({padding.top, padding.left, padding.bottom, padding.right});
}

nlohmann::json layer_json(const LayerSpec& layer) {
  nlohmann::json json = {{"name", layer.name}, {"op", to_string(layer.kind)}, {"inputs", layer.inputs}};
  const auto pair = [](int h, int w) { return nlohmann::json::array({h, w}); };
  switch (layer.kind) {
    case OpKind::conv2d:
      json["filters"] = layer.units;
      json["kernel"] = pair(layer.kernel_h, layer.kernel_w);
      json["stride"] = pair(layer.stride_h, layer.stride_w);
      json["dilation"] = pair(layer.dilation_h, layer.dilation_w);
      json["groups"] = layer.groups;
      json["bias"] = layer.bias;
      json["padding"] = padding_json(layer.padding);
      break;
    case OpKind::dense:
      json["units"] = layer.units;
      json["bias"] = layer.bias;
      break;
    case OpKind::batchnorm:
      json["momentum"] = short_number(layer.momentum);
      json["epsilon"] = short_number(layer.epsilon);
      break;
    case OpKind::avgpool2d:
      json["count_include_pad"] = layer.count_include_pad;
      [[fallthrough]];
    case OpKind::maxpool2d:
      json["kernel"] = pair(layer.kernel_h, layer.kernel_w);
      json["stride"] = pair(layer.stride_h, layer.stride_w);
      json["padding"] = padding_json(layer.padding);
      break;
    case OpKind::dropout:
      json["rate"] = short_number(layer.rate);
      break;
    default:
      break;
  }
  return json;
}

ModelSpec read_model_spec(std::string_view json_text, const std::string& where) {
  const nlohmann::json json = parse_json(json_text, where);
  JsonReader reader(json, where);
  ModelSpec spec;
  spec.name = reader.string("name");
  // The name becomes part of a folder's name.
  if (spec.name.empty() || spec.name.size() > 64 ||
      spec.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
          std::string::npos)
    reader.fail(
        fmt::format("'{}' is no model name: use 1 to 64 letters, digits, '_', '-' and '.'", spec.name));
  spec.description = reader.string("description", "");
  if (reader.has("input")) {
    JsonReader input(reader.raw("input"), where + ": input");
    const auto shape = input.integers("shape", 3, 1, kMaxExtent);
    spec.height = shape[0];
    spec.width = shape[1];
    spec.channels = shape[2];
    spec.mean = static_cast<float>(input.number("mean", -1e3, 1e3, 0));
    spec.stddev = static_cast<float>(input.number("std", 1e-6, 1e6, 1));
    input.finish();
  }
  const nlohmann::json& layers = reader.raw("layers");
  if (!layers.is_array() || layers.empty()) reader.fail("'layers' must be a list of at least one layer");
  if (layers.size() > 4096) reader.fail("more than 4096 layers");
  std::string previous = "input";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool named = layers[i].is_object() && layers[i].contains("name") && layers[i]["name"].is_string();
    const std::string label =
        named ? fmt::format("'{}'", layers[i]["name"].get<std::string>()) : std::to_string(i + 1);
    spec.layers.push_back(parse_layer(layers[i], fmt::format("{}: layer {}", where, label), previous));
    previous = spec.layers.back().name;
  }
  if (reader.has("recipe")) spec.recipe = parse_recipe(reader.raw("recipe"), where + ": recipe");
  reader.finish();
  spec.layers = sort_layers(std::move(spec.layers), where);
  try {
    summarize(spec);  // infers every shape
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", where, error.what()));
  }
  return spec;
}

}  // namespace

ModelSpec parse_model_spec(std::string_view json_text, const std::string& where) {
  return with_clean_messages([&] { return read_model_spec(json_text, where); });
}

nlohmann::json to_json(const ModelSpec& spec) {
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerSpec& layer : spec.layers) layers.push_back(layer_json(layer));
  return {{"name", spec.name},
          {"description", spec.description},
          {"input",
           {{"shape", {spec.height, spec.width, spec.channels}},
            {"mean", short_number(spec.mean)},
            {"std", short_number(spec.stddev)}}},
          {"layers", std::move(layers)},
          {"recipe", to_json(spec.recipe)}};
}

std::filesystem::path find_models_directory() {
  namespace fs = std::filesystem;
  std::vector<fs::path> places;
  if (const char* data = std::getenv("QUERN_DATA")) places.push_back(fs::path(data) / "models");
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty()) {
    places.push_back(program.parent_path() / "../share/quern/models");
    places.push_back(program.parent_path() / "../../data/models");
  }
  places.emplace_back("data/models");
#ifdef QUERN_DEFAULT_DATA_DIR
  places.push_back(fs::path(QUERN_DEFAULT_DATA_DIR) / "models");
#endif
  for (const fs::path& place : places)
    if (fs::is_directory(place, ignored)) return fs::weakly_canonical(place);
  fail_input(
      "the folder of model specs was not found: run from the source tree, or set QUERN_DATA to the data "
      "folder");
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(find_models_directory()))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

SpecText read_spec_text(const std::string& name_or_path) {
  namespace fs = std::filesystem;
  if (name_or_path.ends_with(".json") || name_or_path.find('/') != std::string::npos) {
    std::error_code ignored;
    if (!fs::is_regular_file(name_or_path, ignored))
      fail_input("{}: no such model spec file: give a preset's name (see `quern models`) or a JSON file",
                 name_or_path);
    return {read_text(name_or_path, kLargestSpec), name_or_path};
  }
  const auto names = model_names();
  if (std::find(names.begin(), names.end(), name_or_path) == names.end())
    fail_input("unknown model '{}': choose one of {}, or give a JSON file{}", name_or_path,
               fmt::join(names, ", "), did_you_mean(name_or_path, names));
  const fs::path path = find_models_directory() / (name_or_path + ".json");
  return {read_text(path, kLargestSpec), path.filename().string()};
}

ModelSpec load_model_spec(const std::string& name_or_path) {
  const SpecText spec = read_spec_text(name_or_path);
  return parse_model_spec(spec.text, spec.where);
}

}  // namespace quern
