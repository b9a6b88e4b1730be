#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/progress.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/report.hpp"
#include "quern/safetensors.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

struct EvalFlags {
  std::string checkpoint;
  std::optional<std::string> data;
  std::optional<std::int64_t> limit_test;
  std::optional<std::string> logits;
  bool train_set = false;
  DeviceFlags device;
  OutputFlags output;
};

std::int64_t total(const std::vector<std::int64_t>& row) {
  std::int64_t sum = 0;
  for (const std::int64_t count : row) sum += count;
  return sum;
}

void print_matrix(const std::vector<std::vector<std::int64_t>>& counts,
                  const std::vector<std::string>& names) {
  std::vector<std::string> header{"class", ">images", ">accuracy"};
  for (const std::string& name : names) header.push_back(">" + name);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    const std::int64_t images = total(counts[label]);
    std::vector<std::string> row{
        names[label], with_commas(images),
        images > 0 ? percent(static_cast<double>(counts[label][label]) / static_cast<double>(images)) : "-"};
    for (const std::int64_t count : counts[label]) row.push_back(count > 0 ? std::to_string(count) : ".");
    rows.push_back(std::move(row));
  }
  fmt::print("\nrows: the true class; columns: what it was taken for\n\n{}", format_table(header, rows));
}

void write_logits(const std::string& path, const Evaluation& evaluation, const Split& images) {
  const auto count = static_cast<std::size_t>(evaluation.count);
  const std::vector<TensorToStore> tensors{
      {"logits",
       StoredType::f32,
       {evaluation.count, evaluation.classes},
       std::as_bytes(std::span(evaluation.logits))},
      {"labels", StoredType::u8, {evaluation.count}, std::as_bytes(std::span(images.labels).first(count))}};
  write_safetensors(path, tensors);
}

int run_eval(const EvalFlags& flags) {
  const std::filesystem::path path = find_checkpoint(flags.checkpoint, /*resume=*/false);
  const Checkpoint checkpoint = load_checkpoint(path);
  if (flags.limit_test && *flags.limit_test < 1)
    fail_input("--limit-test {}: must be at least 1", *flags.limit_test);
  const Dataset data = load_dataset(flags.data.value_or(checkpoint.run.data));
  const Split& images = flags.train_set ? data.train : data.test;

  const SessionOptions options = flags.device.over({});
  Session session(checkpoint.spec, options);
  if (const std::string note = fallback_note(options.device); !note.empty() && !flags.output.quiet)
    fmt::print(stderr, "{}\n", note);
  session.set_weights(checkpoint.weights);
  if (!checkpoint.ema.empty()) session.set_average(checkpoint.ema);
  const DeviceImages device_images(session, images, flags.train_set ? "the training set" : "the test set");
  const std::int64_t count = flags.limit_test ? std::min(*flags.limit_test, images.count) : images.count;
  const Evaluation evaluation =
      Evaluator(session, device_images, first_indices(count)).run(/*keep_logits=*/true);
  if (flags.logits) write_logits(*flags.logits, evaluation, images);
  const auto counts = confusion_matrix(evaluation, images);
  std::vector<std::string> names = data.class_names;
  for (std::size_t i = names.size(); i < counts.size(); ++i) names.push_back(std::to_string(i));
  names.resize(counts.size());

  if (!flags.output.quiet && !flags.output.json) {
    fmt::print("{}: {} after {} epochs\n", path.string(), checkpoint.spec.name, checkpoint.state.epoch);
    fmt::print("{}, {} set: accuracy {} ({} of {}), loss {:.5f}\n", data.name,
               flags.train_set ? "training" : "test", percent(evaluation.accuracy), evaluation.correct,
               evaluation.count, evaluation.loss);
    print_matrix(counts, names);
  }
  if (flags.output.json) {
    nlohmann::json per_class = nlohmann::json::array();
    for (std::size_t label = 0; label < counts.size(); ++label) {
      const std::int64_t sum = total(counts[label]);
      per_class.push_back({{"class", names[label]}, {"images", sum}, {"correct", counts[label][label]}});
      per_class.back()["accuracy"] =
          sum > 0 ? nlohmann::json(static_cast<double>(counts[label][label]) / static_cast<double>(sum))
                  : nullptr;
    }
    fmt::print("{}\n", nlohmann::json{{"checkpoint", path.string()},
                                      {"model", checkpoint.spec.name},
                                      {"device", session.device_name()},
                                      {"data", data.name},
                                      {"split", flags.train_set ? "train" : "test"},
                                      {"images", evaluation.count},
                                      {"correct", evaluation.correct},
                                      {"accuracy", evaluation.accuracy},
                                      {"loss", evaluation.loss},
                                      {"classes", std::move(per_class)},
                                      {"confusion_matrix", counts},
                                      {"quern_version", version()}}
                           .dump());
  }
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, int& status) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Evaluate a checkpoint: loss, accuracy, confusion matrix");
  command->add_option("checkpoint", flags->checkpoint, "A run folder or a checkpoint file")->required();
  command->add_option("--data", flags->data,
                      "mnist, fashion-mnist or a folder (default: what it was trained on)");
  command->add_option("--limit-test", flags->limit_test, "Evaluate the first N images only");
  command->add_option("--logits", flags->logits, "Write all logits and labels to this safetensors file");
  command->add_flag("--train-set", flags->train_set, "Evaluate the training set instead of the test set");
  flags->device.add_to(*command);
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_eval(*flags); });
}

}  // namespace quern::cli
