#include <fmt/format.h>

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "io/text.hpp"
#include "quern/model_spec.hpp"

namespace quern::cli {
namespace {

struct Totals {
  std::int64_t parameters = 0, state = 0;
  double flops = 0;
};

Totals totals(const std::vector<LayerSummary>& layers) {
  Totals sum;
  for (const LayerSummary& layer : layers) {
    sum.parameters += layer.parameters;
    sum.state += layer.state;
    sum.flops += layer.flops;
  }
  return sum;
}

std::string without_batch(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape.extents().subspan(shape.rank() > 0 ? 1 : 0), "x"));
}

nlohmann::json model_json(const ModelSpec& spec) {
  const auto layers = summarize(spec);
  const Totals sum = totals(layers);
  nlohmann::json rows = nlohmann::json::array();
  for (const LayerSummary& layer : layers) {
    const auto extents = layer.output.extents();
    rows.push_back(
        {{"name", layer.name},
         {"op", layer.op},
         {"output", std::vector<std::int64_t>(extents.begin() + (extents.empty() ? 0 : 1), extents.end())},
         {"parameters", layer.parameters},
         {"state", layer.state},
         {"flops", layer.flops}});
  }
  return {{"name", spec.name},
          {"description", spec.description},
          {"input", {spec.height, spec.width, spec.channels}},
          {"classes", output_classes(spec)},
          {"parameters", sum.parameters},
          {"state", sum.state},
          {"flops", sum.flops},
          {"layers", std::move(rows)},
          {"recipe", to_json(spec.recipe)}};
}

/// Of what a recipe may leave out, only what is set.
std::string set_ones(std::initializer_list<std::pair<const char*, float>> settings) {
  std::string text;
  for (const auto& [name, value] : settings)
    if (value != 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  return text;
}

void print_recipe(const Recipe& recipe) {
  fmt::print("recipe: {} epochs, batch {}, {}, learning rate {} ({})\n", recipe.epochs, recipe.batch_size,
             to_string(recipe.optimizer), recipe.learning_rate, to_string(recipe.schedule.kind));
  const std::string rest = set_ones({{"label smoothing", recipe.label_smoothing},
                                     {"weight decay", recipe.weight_decay},
                                     {"clip norm", recipe.clip_norm},
                                     {"EMA decay", recipe.ema_decay}});
  if (!rest.empty()) fmt::print("regularisation: {}\n", rest);
  const Augment& augment = recipe.augment;
  const std::string moves = set_ones({{"shift", augment.shift},
                                      {"crop", static_cast<float>(augment.crop)},
                                      {"rotate", augment.rotate},
                                      {"scale", augment.scale},
                                      {"shear", augment.shear},
                                      {"elastic", augment.elastic},
                                      {"flip", augment.flip},
                                      {"erase", static_cast<float>(augment.erase)}});
  if (!moves.empty()) fmt::print("augmentation: {}\n", moves);
}

void print_model(const ModelSpec& spec) {
  const auto layers = summarize(spec);
  const Totals sum = totals(layers);
  fmt::print("{}: {}\n\n", spec.name, spec.description);
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"input", "", fmt::format("{}x{}x{}", spec.height, spec.width, spec.channels), "", "", ""});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerSummary& layer = layers[i];
    rows.push_back({layer.name, layer.op, without_batch(layer.output), with_commas(layer.parameters),
                    with_commas(static_cast<long long>(layer.flops)),
                    fmt::format("{}", fmt::join(spec.layers[i].inputs, ", "))});
  }
  fmt::print("{}", format_table({"layer", "op", "output", ">parameters", ">FLOPs", "reads"}, rows));
  fmt::print("\nparameters: {} trained ({:.1f} KiB), {} running statistics\n", with_commas(sum.parameters),
             static_cast<double>(sum.parameters) * 4 / 1024, with_commas(sum.state));
  fmt::print("forward: {:.2f} MFLOP per image\n", sum.flops / 1e6);
  print_recipe(spec.recipe);
}

void list_models(bool json) {
  std::vector<std::vector<std::string>> rows;
  nlohmann::json list = nlohmann::json::array();
  for (const std::string& name : model_names()) {
    const ModelSpec spec = load_model_spec(name);
    const Totals sum = totals(summarize(spec));
    rows.push_back({spec.name, fmt::format("{}x{}x{}", spec.height, spec.width, spec.channels),
                    with_commas(sum.parameters), fmt::format("{:.2f}", sum.flops / 1e6), spec.description});
    list.push_back(model_json(spec));
  }
  if (json) {
    fmt::print("{}\n", nlohmann::json{{"models", std::move(list)}}.dump());
  } else {
    fmt::print("{}", format_table({"model", "input", ">parameters", ">MFLOP/image", "what it is"}, rows));
    fmt::print("\n`quern models NAME` shows the layers. Specs are JSON files in {}\n",
               find_models_directory().string());
  }
}

}  // namespace

void add_models(CLI::App& app, int& status) {
  struct Flags {
    std::string model;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("models", "List the models, or show one: layers, shapes, parameters, FLOPs");
  command->add_option("model", flags->model,
                      "A model's name or a spec file (JSON); without it, all are listed");
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, &status] {
    if (flags->model.empty()) {
      list_models(flags->json);
    } else if (flags->json) {
      fmt::print("{}\n", model_json(load_model_spec(flags->model)).dump());
    } else {
      print_model(load_model_spec(flags->model));
    }
    status = 0;
  });
}

}  // namespace quern::cli
