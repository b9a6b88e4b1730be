#include "cli/bench_train.hpp"

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/console.hpp"
#include "cli/first_steps.hpp"
#include "cli/flags.hpp"
#include "cli/progress.hpp"
#include "cli/statistics.hpp"
#include "cli/train_flags.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/profile.hpp"
#include "quern/trainer.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

struct BenchTrainFlags {
  std::vector<std::string> models{"seed", "seed-bn"};
  std::vector<std::int64_t> batches{64, 256, 1024, 8192};
  std::string data = kDefaultData;
  std::int64_t steps = 40, limit_train = 0, limit_test = 0;
  std::optional<double> to_accuracy;
  std::optional<std::string> first_steps;
  int seeds = 3;
  bool whole_run = false, json = false;
  RecipeFlags recipe;
  DeviceFlags device;
};

using Clock = std::chrono::steady_clock;

/// Seconds of every epoch, evaluation excluded.
class EpochTimes final : public TrainObserver {
 public:
  void on_epoch(const EpochResult& result) override { seconds.push_back(result.seconds); }
  std::vector<double> seconds;
};

class BenchTrain {
 public:
  explicit BenchTrain(const BenchTrainFlags& flags) : flags_(flags), data_(load_dataset(flags.data)) {
    if (flags.steps < 1) fail_input("--steps {}: must be at least 1", flags.steps);
    if (flags.seeds < 1) fail_input("--seeds {}: must be at least 1", flags.seeds);
    if (flags.to_accuracy && !(*flags.to_accuracy > 0 && *flags.to_accuracy <= 1))
      fail_input("--to-accuracy {}: give a share, such as 0.99", *flags.to_accuracy);
  }

  int execute() {
    if (flags_.first_steps) return write_first_steps();
    if (flags_.to_accuracy || flags_.whole_run) {
      for (const std::string& model : flags_.models) run_whole(model);
    } else {
      for (const std::string& model : flags_.models)
        for (const std::int64_t batch : flags_.batches) time_steps(model, batch);
    }
    json_["quern_version"] = version();
    json_["data"] = flags_.data;
    if (flags_.json)
      fmt::print("{}\n", json_.dump());
    else
      fmt::print("{}", format_table(header_, rows_));
    return status_;
  }

 private:
  int write_first_steps() const {
    if (flags_.models.size() != 1 || flags_.batches.size() != 1)
      fail_input("--first-steps takes one --model and one --batch");
    ModelSpec spec = spec_of(flags_.models[0]);
    spec.recipe.batch_size = static_cast<int>(flags_.batches[0]);
    validate(spec.recipe);
    Session session(std::move(spec), flags_.device.over({}));
    write_file_atomically(*flags_.first_steps, first_steps(session, data_, flags_.steps, 1).dump() + "\n");
    return 0;
  }

  ModelSpec spec_of(const std::string& model) const {
    ModelSpec spec = load_model_spec(model);
    flags_.recipe.apply(spec.recipe);
    return spec;
  }

  void describe_device(Session& session) {
    const DeviceInfo& info = session.device().info();
    json_["device"] = session.device_name();
    json_["device_name"] = info.name;
    json_["threads"] = info.threads;
    json_["precision"] = to_string(session.precision());
  }

  /// Four epochs over a part of the training set that makes `steps` whole steps; the first one warms up.
  void time_steps(const std::string& model, std::int64_t batch) {
    ModelSpec spec = spec_of(model);
    spec.recipe.batch_size = static_cast<int>(batch);
    spec.recipe.epochs = 4;
    validate(spec.recipe);
    Session session(std::move(spec), flags_.device.over({}));
    describe_device(session);
    const std::int64_t steps = std::min(flags_.steps, data_.train.count / batch);
    if (steps < 1)
      fail_input("--batch {}: above the {} training images; choose a smaller one", batch, data_.train.count);
    RunSettings settings;
    settings.limit_train = steps * batch;
    const DeviceImages images(session, data_.train, "the training set");
    Trainer trainer(session, images, settings);
    EpochTimes times;
    trainer.run(times);
    std::vector<double> step_ms;
    for (std::size_t i = 1; i < times.seconds.size(); ++i)
      step_ms.push_back(times.seconds[i] * 1e3 / static_cast<double>(steps));
    const double ms = median(step_ms), rate = static_cast<double>(batch) / ms * 1e3;
    header_ = {"model", ">batch", ">ms/step", ">spread", ">images/s"};
    rows_.push_back({model, std::to_string(batch), fmt::format("{:.3f}", ms),
                     fmt::format("{:.0f} %", spread(step_ms) * 100), fmt::format("{:.0f}", rate)});
    json_["steps"].push_back({{"model", model},
                              {"batch_size", batch},
                              {"steps_an_epoch", steps},
                              {"ms_per_step", ms},
                              {"spread", spread(step_ms)},
                              {"images_per_second", rate}});
  }

  /// The recipe from its first step to the evaluation of its last weights, once a seed. The number of epochs
  /// is the recipe's or --epochs: nothing looks at the test set to choose it.
  void run_whole(const std::string& model) {
    std::vector<double> seconds, accuracies, step_ms;
    nlohmann::json runs = nlohmann::json::array();
    const ModelSpec spec = spec_of(model);
    for (int seed = 1; seed <= flags_.seeds; ++seed) {
      Session session(spec, flags_.device.over({}));
      describe_device(session);
      const DeviceImages train(session, data_.train, "the training set");
      const DeviceImages test(session, data_.test, "the test set");
      RunSettings settings;
      settings.seed = static_cast<std::uint64_t>(seed);
      settings.limit_train = flags_.limit_train;
      Trainer trainer(session, train, settings);
      const std::int64_t count =
          flags_.limit_test > 0 ? std::min(flags_.limit_test, data_.test.count) : data_.test.count;
      Evaluator evaluator(session, test, first_indices(count));
      TrainObserver silent;
      const auto start = Clock::now();
      trainer.run(silent);
      const Evaluation evaluation = evaluator.run();
      seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      accuracies.push_back(evaluation.accuracy);
      step_ms.push_back(trainer.times().ms_per_step);
      runs.push_back({{"seed", seed},
                      {"seconds", seconds.back()},
                      {"ms_per_step", step_ms.back()},
                      {"test_accuracy", evaluation.accuracy}});
    }
    const Spread time = spread_of(seconds), accuracy = spread_of(accuracies);
    const bool reached = !flags_.to_accuracy || accuracy.mean >= *flags_.to_accuracy;
    if (!reached) status_ = exit_status(ErrorKind::check);
    header_ = {"model", ">epochs",  ">batch",    ">seeds", ">seconds",
               ">sd",   ">ms/step", ">accuracy", ">sd",    "reached"};
    rows_.push_back({model, std::to_string(spec.recipe.epochs), std::to_string(spec.recipe.batch_size),
                     std::to_string(flags_.seeds), fmt::format("{:.3f}", time.mean),
                     fmt::format("{:.3f}", time.sd), fmt::format("{:.3f}", spread_of(step_ms).mean),
                     percent(accuracy.mean), percent(accuracy.sd),
                     !flags_.to_accuracy ? "-"
                     : reached           ? fmt::format("yes, {}", percent(*flags_.to_accuracy))
                                         : fmt::format("NO, below {}", percent(*flags_.to_accuracy))});
    json_["runs"].push_back({{"model", model},
                             {"epochs", spec.recipe.epochs},
                             {"batch_size", spec.recipe.batch_size},
                             {"seconds_mean", time.mean},
                             {"seconds_sd", time.sd},
                             {"ms_per_step", spread_of(step_ms).mean},
                             {"accuracy_mean", accuracy.mean},
                             {"accuracy_sd", accuracy.sd},
                             {"runs", std::move(runs)}});
    if (flags_.to_accuracy) {
      json_["runs"].back()["to_accuracy"] = *flags_.to_accuracy;
      json_["runs"].back()["reached"] = reached;
    }
  }

  const BenchTrainFlags& flags_;
  const Dataset data_;
  int status_ = 0;
  nlohmann::json json_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace

void add_bench_train(CLI::App& bench, int& status) {
  auto flags = std::make_shared<BenchTrainFlags>();
  CLI::App* command = bench.add_subcommand("train", "Time whole training steps, or whole runs");
  command->add_option("--model", flags->models, "Models, e.g. seed,seed-bn (the default)")
      ->delimiter(',')
      ->take_all();
  // Not the recipe's --batch: a list.
  flags->recipe.add_to(*command, /*batch=*/false);
  command->add_option("--batch", flags->batches, "Batch sizes (default 64,256,1024,8192)")
      ->delimiter(',')
      ->take_all();
  command->add_option("--data", flags->data, fmt::format("What to train on (default {})", kDefaultData));
  command->add_option("--steps", flags->steps, "Steps an epoch behind every time (default 40)");
  command->add_flag("--run", flags->whole_run,
                    "Time the recipe's whole run instead, its evaluation included");
  command->add_option("--to-accuracy", flags->to_accuracy,
                      "The whole run, and exit with 1 unless its mean test accuracy reaches this share");
  command->add_option("--seeds", flags->seeds, "Whole runs, with seeds 1 to N (default 3)");
  command->add_option("--limit-train", flags->limit_train, "Whole runs: the first N training images only");
  command->add_option("--limit-test", flags->limit_test, "Whole runs: the first N test images only");
  command->add_option("--first-steps", flags->first_steps,
                      "Write initial weights, order and losses of --steps steps, for others to repeat");
  command->add_flag("--json", flags->json, "Print one JSON object");
  flags->device.add_to(*command);
  command->callback([flags, &status] { status = BenchTrain(*flags).execute(); });
}

}  // namespace quern::cli
