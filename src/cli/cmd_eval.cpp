#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/opinion.hpp"
#include "cli/progress.hpp"
#include "cli/statistics.hpp"
#include "io/text.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/report.hpp"
#include "quern/safetensors.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace fs = std::filesystem;
namespace {

struct EvalFlags {
  std::vector<std::string> checkpoints;
  std::optional<std::string> data;
  std::optional<std::int64_t> limit_test;
  std::optional<std::string> logits;
  bool train_set = false, ensemble = false, mirrored = false;
  int shifts = 1;
  DeviceFlags device;
  OutputFlags output;
};

/// A checkpoint that was asked.
struct Member {
  fs::path path;
  std::string model;
  std::int64_t epochs = 0;
  Evaluation evaluation;
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

/// Networks whose answers can be averaged see the same images and know the same classes.
void require_alike(const fs::path& a_path, const Checkpoint& a, const fs::path& b_path, const Checkpoint& b) {
  const auto takes = [](const fs::path& path, const ModelSpec& spec) {
    return fmt::format("{} takes {}x{}x{} images in {} classes", path.string(), spec.height, spec.width,
                       spec.channels, output_classes(spec));
  };
  const auto form = [](const ModelSpec& spec) {
    return std::tuple(spec.height, spec.width, spec.channels, output_classes(spec));
  };
  constexpr const char* kAdvice = "an ensemble's members must agree: leave one out";
  if (form(a.spec) != form(b.spec))
    fail_input("{}, {}: {}", takes(a_path, a.spec), takes(b_path, b.spec), kAdvice);
  const auto &ours = a.run.class_names, &theirs = b.run.class_names;
  if (!ours.empty() && !theirs.empty() && ours != theirs)
    fail_input("{} tells {} apart, {} {}: {}", a_path.string(), fmt::join(ours, ", "), b_path.string(),
               fmt::join(theirs, ", "), kAdvice);
}

class Eval {
 public:
  explicit Eval(const EvalFlags& flags) : flags_(flags) {
    if (flags.limit_test && *flags.limit_test < 1)
      fail_input("--limit-test {}: must be at least 1", *flags.limit_test);
    if (flags.shifts < 1 || flags.shifts > kMostShifts)
      fail_input("--tta {}: give 1 to {} views", flags.shifts, kMostShifts);
    views_ = nearest_views(flags.shifts, flags.mirrored);
    if (flags.ensemble && flags.checkpoints.size() < 2)
      fail_input("--ensemble needs at least two checkpoints or run folders");
  }

  int execute() {
    const std::int64_t classes = find_members();
    const Dataset data = load_dataset(data_spec_);
    const Split& images = flags_.train_set ? data.train : data.test;
    const std::int64_t count = flags_.limit_test ? std::min(*flags_.limit_test, images.count) : images.count;
    const SessionOptions options = flags_.device.over({});
    if (const std::string note = fallback_note(options.device); !note.empty() && !flags_.output.quiet)
      fmt::print(stderr, "{}\n", note);

    std::optional<ProbabilityMean> mean;
    if (ensemble()) mean.emplace(count, classes);
    for (Member& member : members_) {
      Opinion opinion =
          ask(load_checkpoint(member.path), options, images,
              flags_.train_set ? "the training set" : "the test set", count, views_, mean ? &*mean : nullptr);
      device_ = opinion.device;
      member.evaluation = std::move(opinion.evaluation);
      if (ensemble()) member.evaluation.logits = {};  // counted in the mean; many members take no more memory
    }
    const Evaluation result = mean ? mean->evaluate(images.labels) : std::move(members_.front().evaluation);
    if (!mean) members_.front().evaluation = without_logits(result);
    if (flags_.logits) write_logits(*flags_.logits, result, images);
    report(data, images, result);
    return 0;
  }

 private:
  bool ensemble() const { return members_.size() > 1; }

  static Evaluation without_logits(const Evaluation& evaluation) {
    return {evaluation.loss,    evaluation.accuracy, evaluation.count,
            evaluation.correct, evaluation.classes,  {}};
  }

  /// Looks at every checkpoint before the first is evaluated, and keeps none. Gives the number of classes.
  std::int64_t find_members() {
    std::optional<Checkpoint> first;
    for (const std::string& given : flags_.checkpoints) {
      const fs::path path = find_checkpoint(given, /*resume=*/false);
      Checkpoint checkpoint = load_checkpoint(path);
      members_.push_back({path, checkpoint.spec.name, checkpoint.state.epoch, {}});
      if (!first) {
        first = std::move(checkpoint);
        continue;
      }
      const fs::path& first_path = members_.front().path;
      require_alike(first_path, *first, path, checkpoint);
      if (!flags_.data && checkpoint.run.data != first->run.data)
        fail_input("{} was trained on {}, {} on {}: say with --data which set to evaluate",
                   first_path.string(), first->run.data, path.string(), checkpoint.run.data);
    }
    data_spec_ = flags_.data.value_or(first->run.data);
    return output_classes(first->spec);
  }

  void report(const Dataset& data, const Split& images, const Evaluation& result) const {
    const auto counts = confusion_matrix(result, images);
    std::vector<std::string> names = data.class_names;
    for (std::size_t i = names.size(); i < counts.size(); ++i) names.push_back(std::to_string(i));
    names.resize(counts.size());
    if (!flags_.output.quiet && !flags_.output.json) {
      ensemble() ? print_members(data, result) : print_single(data, result);
      print_matrix(counts, names);
    }
    if (flags_.output.json) print_json(data, result, counts, names);
  }

  std::string views_text() const {
    return views_.size() > 1 ? fmt::format(", {} views of each image", views_.size()) : "";
  }
  const char* set_name() const { return flags_.train_set ? "training" : "test"; }

  void print_single(const Dataset& data, const Evaluation& result) const {
    const Member& member = members_.front();
    fmt::print("{}: {} after {} epochs\n", member.path.string(), member.model, member.epochs);
    fmt::print("{}, {} set{}: accuracy {} ({} of {}; 95 % interval {}), loss {:.5f}\n", data.name, set_name(),
               views_text(), percent(result.accuracy), result.correct, result.count,
               to_text(wilson_interval(result.correct, result.count)), result.loss);
  }

  void print_members(const Dataset& data, const Evaluation& result) const {
    fmt::print("{}, {} set, {} images{}: the mean of {} checkpoints\n\n", data.name, set_name(),
               with_commas(result.count), views_text(), members_.size());
    std::vector<std::vector<std::string>> rows;
    const auto add = [&](std::string name, std::string model, std::string epochs, const Evaluation& of) {
      rows.push_back({std::move(name), std::move(model), std::move(epochs), percent(of.accuracy),
                      fmt::format("{:.2f} %", standard_error(of.accuracy, of.count) * 100),
                      to_text(wilson_interval(of.correct, of.count)), with_commas(of.correct),
                      fmt::format("{:.5f}", of.loss)});
    };
    for (const Member& member : members_)
      add(member.path.string(), member.model, std::to_string(member.epochs), member.evaluation);
    add("ensemble", "", "", result);
    fmt::print("{}", format_table({"checkpoint", "model", ">epochs", ">accuracy", ">std error",
                                   ">95 % interval", ">correct", ">loss"},
                                  rows));
  }

  static nlohmann::json accuracy_json(const Evaluation& of) {
    const Interval interval = wilson_interval(of.correct, of.count);
    return {{"correct", of.correct},
            {"accuracy", of.accuracy},
            {"standard_error", standard_error(of.accuracy, of.count)},
            {"interval_95", {interval.low, interval.high}},
            {"loss", of.loss}};
  }

  void print_json(const Dataset& data, const Evaluation& result,
                  const std::vector<std::vector<std::int64_t>>& counts,
                  const std::vector<std::string>& names) const {
    nlohmann::json per_class = nlohmann::json::array();
    for (std::size_t label = 0; label < counts.size(); ++label) {
      const std::int64_t sum = total(counts[label]);
      per_class.push_back({{"class", names[label]}, {"images", sum}, {"correct", counts[label][label]}});
      per_class.back()["accuracy"] =
          sum > 0 ? nlohmann::json(static_cast<double>(counts[label][label]) / static_cast<double>(sum))
                  : nullptr;
    }
    nlohmann::json members = nlohmann::json::array();
    for (const Member& member : members_) {
      members.push_back(accuracy_json(member.evaluation));
      members.back()["checkpoint"] = member.path.string();
      members.back()["model"] = member.model;
      members.back()["epochs"] = member.epochs;
    }
    nlohmann::json json = accuracy_json(result);
    json.update({{"device", device_},
                 {"data", data.name},
                 {"split", flags_.train_set ? "train" : "test"},
                 {"images", result.count},
                 {"views", views_.size()},
                 {"members", std::move(members)},
                 {"classes", std::move(per_class)},
                 {"confusion_matrix", counts},
                 {"quern_version", version()}});
    if (!ensemble()) {
      json["checkpoint"] = members_.front().path.string();
      json["model"] = members_.front().model;
    }
    fmt::print("{}\n", json.dump());
  }

  const EvalFlags& flags_;
  std::vector<View> views_;
  std::vector<Member> members_;
  std::string data_spec_, device_;
};

}  // namespace

void add_eval(CLI::App& app, int& status) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand(
      "eval", "Evaluate a checkpoint, or several as an ensemble: loss, accuracy, confusion matrix");
  command
      ->add_option("checkpoint", flags->checkpoints,
                   "A run folder or a checkpoint file; of several, the mean probabilities are evaluated")
      ->required()
      ->take_all();
  command->add_flag("--ensemble", flags->ensemble,
                    "Average the probabilities of the checkpoints: at least two must be given");
  command->add_option(
      "--tta", flags->shifts,
      fmt::format(
          "Average over the N nearest views of each image, 1 to {} (default 1: the image alone); 5: and "
          "by one pixel up, left, right and down; 9: and diagonally; 13: and by two",
          kMostShifts));
  command->add_flag("--tta-mirror", flags->mirrored,
                    "Average over the mirror image of each view as well: for networks trained with "
                    "--augment-flip");
  command->add_option("--data", flags->data,
                      "mnist, fashion-mnist or a folder (default: what it was trained on)");
  command->add_option("--limit-test", flags->limit_test, "Evaluate the first N images only");
  command->add_option("--logits", flags->logits,
                      "Write all logits and labels to this safetensors file; of an ensemble or several views "
                      "the logarithms of the mean probabilities");
  command->add_flag("--train-set", flags->train_set, "Evaluate the training set instead of the test set");
  flags->device.add_to(*command);
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = Eval(*flags).execute(); });
}

}  // namespace quern::cli
