#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/train_flags.hpp"
#include "io/text.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/exchange.hpp"
#include "quern/trainer.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

struct ImportFlags {
  std::string file, output_file;
  std::optional<std::string> model, layout, data;
  std::vector<std::string> renames;
  std::optional<std::int64_t> seed, validation;
  RecipeFlags recipe;
  DeviceFlags device;
  OutputFlags output;
};

ImportOptions import_options(const ImportFlags& flags) {
  ImportOptions options;
  if (flags.layout) {
    if (*flags.layout == "torch") {
      options.home = WeightHome::torch;
    } else if (*flags.layout == "keras") {
      options.home = WeightHome::keras;
    } else {
      fail_input("--layout {}: choose torch or keras", *flags.layout);
    }
  }
  for (const std::string& text : flags.renames) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      fail_input("--rename {}: write OLD=NEW, for example features.0=conv1", text);
    options.renames.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return options;
}

int run_import(const ImportFlags& flags) {
  if (flags.seed && *flags.seed < 0) fail_input("--seed {}: must not be negative", *flags.seed);
  ModelSpec spec = load_model_spec(flags.model.value_or(kDefaultModel));
  flags.recipe.apply(spec.recipe);
  const std::vector<float> weights = import_weights(flags.file, spec, import_options(flags));

  // A checkpoint at step 0 of a run over this data, so that eval, predict and train --resume take it.
  RunSettings run;
  run.data = flags.data.value_or(kDefaultData);
  run.seed = static_cast<std::uint64_t>(flags.seed.value_or(1));
  run.validation = flags.validation.value_or(0);
  const Dataset data = load_dataset(run.data);
  run.class_names = data.class_names;
  Session session(spec, flags.device.over({}));
  const DeviceImages images(session, data.train, "the training set");
  Trainer trainer(session, images, run);
  session.set_weights(weights);
  if (session.average_address() != nullptr) session.set_average(weights);
  save_checkpoint(flags.output_file, trainer.checkpoint());

  if (!flags.output.quiet && !flags.output.json)
    fmt::print("wrote {}: {}, {} parameters\n", flags.output_file, spec.name,
               with_commas(trainer.parameters()));
  if (flags.output.json)
    fmt::print("{}\n", nlohmann::json{{"checkpoint", flags.output_file},
                                      {"model", spec.name},
                                      {"parameters", trainer.parameters()},
                                      {"weights_hash", weights_hash(session.layout(), weights)},
                                      {"quern_version", version()}}
                           .dump());
  return 0;
}

}  // namespace

void add_import(CLI::App& app, int& status) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = app.add_subcommand(
      "import", "Make a checkpoint of weights trained elsewhere (safetensors from PyTorch or Keras)");
  command->add_option("file", flags->file, "A safetensors file")->required();
  command->add_option("-o,--output", flags->output_file, "The checkpoint to write")->required();
  command->add_option("--model", flags->model,
                      fmt::format("The network: a model's name or a spec file (default {})", kDefaultModel));
  command->add_option("--layout", flags->layout, "torch or keras (default: told by the tensors' names)");
  command
      ->add_option("--rename", flags->renames,
                   "OLD=NEW: replace the beginning of tensor names, e.g. features.0=conv1; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--data", flags->data,
                      fmt::format("What it will be trained on and judged by (default {})", kDefaultData));
  command->add_option("--seed", flags->seed, "Of training that goes on from here (default 1)");
  command->add_option("--validation", flags->validation, "Images to hold out of the training set");
  flags->recipe.add_to(*command);
  flags->device.add_to(*command);
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_import(*flags); });
}

}  // namespace quern::cli
