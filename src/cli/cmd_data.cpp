#include <zlib.h>

#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/train_flags.hpp"
#include "io/text.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/image.hpp"
#include "quern/version.hpp"
#include "train/preview.hpp"

namespace quern::cli {
namespace {

struct DataFlags {
  std::string data = kDefaultData, model = kDefaultModel;
  std::optional<std::string> preview;
  std::int64_t seed = 1, validation = 0, limit_train = 0;
  SheetOptions sheet;
  RecipeFlags recipe;
  OutputFlags output;
};

std::vector<std::int64_t> count_classes(const Split& split, int classes) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
  for (const std::uint8_t label : split.labels) ++counts[label];
  return counts;
}

std::string crc32_of(std::span<const std::uint8_t> bytes) {
  return fmt::format("{:08x}", crc32_z(0, bytes.data(), bytes.size()));
}

nlohmann::json describe(const Split& split) {
  const PixelStatistics pixels = pixel_statistics(split.images);
  return {{"images", split.count},
          {"height", split.height},
          {"width", split.width},
          {"channels", split.channels},
          {"mean", pixels.mean},
          {"std", pixels.stddev},
          {"images_crc32", crc32_of(split.images)},
          {"labels_crc32", crc32_of(split.labels)}};
}

void print_summary(const Dataset& data) {
  const Split& train = data.train;
  fmt::print("{}: images of {}x{}x{} in {} classes, read from {}\n\n", data.name, train.height, train.width,
             train.channels, data.classes, data.path.string());
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, split] :
       {std::pair<const char*, const Split*>{"training", &data.train}, {"test", &data.test}}) {
    const PixelStatistics pixels = pixel_statistics(split->images);
    rows.push_back({name, with_commas(split->count), fmt::format("{:.4f}", pixels.mean),
                    fmt::format("{:.4f}", pixels.stddev), crc32_of(split->images), crc32_of(split->labels)});
  }
  fmt::print("{}\n",
             format_table({"set", ">images", ">mean", ">std", "CRC-32 of pixels", "of labels"}, rows));
  rows.clear();
  const auto train_counts = count_classes(data.train, data.classes);
  const auto test_counts = count_classes(data.test, data.classes);
  for (std::size_t label = 0; label < train_counts.size(); ++label)
    rows.push_back({std::to_string(label), data.class_names[label], with_commas(train_counts[label]),
                    with_commas(test_counts[label])});
  fmt::print("{}", format_table({"class", "name", ">training", ">test"}, rows));
}

/// Writes the sheet and says what is on it.
void write_preview(const DataFlags& flags, const Dataset& data, const ModelSpec& spec) {
  RunSettings run;
  run.seed = static_cast<std::uint64_t>(flags.seed);
  run.validation = flags.validation;
  run.limit_train = flags.limit_train;
  TrainingView view(spec, data.train, run);
  write_png(*flags.preview, preview_sheet(view, data.train, flags.sheet));
  if (flags.output.quiet || flags.output.json) return;
  fmt::print("{}: on the left {}'s own images, beside them what epochs 1 to {} of seed {} see of each\n",
             *flags.preview, data.name, flags.sheet.draws, flags.seed);
  if (!spec.recipe.augment.enabled())
    fmt::print("the recipe of '{}' augments nothing: set --augment-shift, --augment-rotate, ...\n",
               spec.name);
}

int run_data(const DataFlags& flags) {
  if (flags.seed < 0) fail_input("--seed {}: must not be negative", flags.seed);
  const Dataset data = load_dataset(flags.data);
  ModelSpec spec = load_model_spec(flags.model);
  flags.recipe.apply(spec.recipe);
  if (flags.preview)
    write_preview(flags, data, spec);
  else if (!flags.output.quiet && !flags.output.json)
    print_summary(data);
  if (!flags.output.json) return 0;
  nlohmann::json classes = nlohmann::json::array();
  const auto train_counts = count_classes(data.train, data.classes);
  const auto test_counts = count_classes(data.test, data.classes);
  for (std::size_t label = 0; label < train_counts.size(); ++label)
    classes.push_back(
        {{"class", data.class_names[label]}, {"train", train_counts[label]}, {"test", test_counts[label]}});
  const nlohmann::json recipe = to_json(spec.recipe);
  fmt::print("{}\n", nlohmann::json{{"data", data.name},
                                    {"path", data.path.string()},
                                    {"train", describe(data.train)},
                                    {"test", describe(data.test)},
                                    {"classes", std::move(classes)},
                                    {"model", spec.name},
                                    {"augment", recipe["augment"]},
                                    {"preview", flags.preview ? nlohmann::json(*flags.preview) : nullptr},
                                    {"quern_version", version()}}
                         .dump());
  return 0;
}

}  // namespace

void add_data(CLI::App& app, int& status) {
  auto flags = std::make_shared<DataFlags>();
  CLI::App* command =
      app.add_subcommand("data", "Describe a data set; --preview draws what the network sees of it");
  command->add_option(
      "--data", flags->data,
      fmt::format("mnist, fashion-mnist or a folder of IDX files (default {})", kDefaultData));
  command->add_option("--preview", flags->preview,
                      "Write a PNG: images beside what training makes of them, epoch by epoch");
  command->add_option(
      "--model", flags->model,
      fmt::format("Whose recipe augments: a name or a spec file (default {})", kDefaultModel));
  command->add_option("--images", flags->sheet.images, "Rows of the preview (default 10)");
  command->add_option("--draws", flags->sheet.draws, "Epochs beside each image (default 8)");
  command->add_option("--zoom", flags->sheet.zoom, "Side of a pixel (default 2)");
  command->add_option("--seed", flags->seed, "Of the run to be looked at (default 1)");
  command->add_option("--validation", flags->validation, "As for train: images held out");
  command->add_option("--limit-train", flags->limit_train, "As for train: the first N images only");
  flags->recipe.add_to(*command);
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_data(*flags); });
}

}  // namespace quern::cli
