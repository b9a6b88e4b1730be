#include "cli/train_flags.hpp"

#include <charconv>

#include "cli/help.hpp"
#include "graph/spec_override.hpp"
#include "quern/error.hpp"
#include "train/run_json.hpp"

namespace quern::cli {
namespace {

/// A share of 1, or a percentage: 0.99 and 99 mean the same.
double parse_accuracy(double value) {
  if (!(value >= 0 && value <= 100))
    fail_input("--require-accuracy {}: give a share (0.99) or a percentage (99)", value);
  return value > 1 ? value / 100 : value;
}

/// "A:B".
std::pair<std::int64_t, std::int64_t> parse_steps(std::string_view text) {
  std::int64_t bounds[2] = {};
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, bounds[0]);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto second = std::from_chars(first.ptr + 1, end, bounds[1]);
    if (second.ec == std::errc() && second.ptr == end) return {bounds[0], bounds[1]};
  }
  fail_input("--profile-steps {}: give two step numbers, e.g. 200:210", text);
}

template <class T>
void require_same(const char* flag, const std::optional<T>& given, T trained) {
  if (given && *given != trained)
    fail_input("{} {}: the run to be resumed has {}; leave the flag out, or start a new run", flag, *given,
               trained);
}

bool same_network(ModelSpec a, ModelSpec b) {
  a.recipe = b.recipe = {};
  a.description = b.description = {};
  return a == b;
}

}  // namespace

void TrainFlags::add_to(CLI::App& command) {
  {
    const FlagGroup group(command, "Network and data");
    add_data_flags(command);
  }
  recipe.add_to(command);
  {
    const FlagGroup group(command, "Run");
    add_run_flags(command);
  }
  device.add_to(command);
  output.add_to(command);
  const FlagGroup group(command, "Output");
  command.add_flag(
      "--tui", tui,
      "Draw curves, speed and time by node while training, on standard error where that is a terminal");
}

void TrainFlags::add_data_flags(CLI::App& command) {
  command.add_option("--model", model,
                     fmt::format("A model's name or a spec file (default {})", kDefaultModel));
  command
      .add_option(
          "--set", set,
          "Replace a field of the model spec: layers.conv1.filters=16, recipe.schedule.kind=cosine; may be "
          "repeated; recipe flags such as --lr go before it")
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--data", data,
                     fmt::format("mnist, fashion-mnist or a folder of IDX files (default {})", kDefaultData));
  command.add_option("--seed", seed, "Of every random number (default 1)");
  command.add_option("--validation", validation,
                     "Images held out of the training set to judge the epochs by");
  command.add_option("--limit-train", limit_train, "Train on the first N images only");
  command.add_option("--limit-test", limit_test, "Test on the first N images only");
}

void TrainFlags::add_run_flags(CLI::App& command) {
  command.add_option("--early-stop", early_stop,
                     "Stop after this many epochs without a lower validation loss");
  command.add_option("--require-accuracy", require_accuracy,
                     "Exit with 1 if the test accuracy is below (0.99 or 99)");
  command.add_option("--run-dir", run_dir, "Folder for the run's files (default runs/<time>-<model>)");
  command.add_option("--check-every", check_every,
                     "Hold every node of every N-th step against the reference, from the first step on");
  command.add_option(
      "--on-nan", on_nan,
      "A step whose loss or gradients are not finite: stop (default), or skip it, which leaves "
      "all weights as they were");
  command.add_flag("--no-save", no_save, "Leave no files behind");
  command.add_option("--resume", resume, "Go on from a run folder or a checkpoint");
  command.add_option("--profile-steps", profile_steps,
                     "A:B: open the profiler's window for the steps A to B - 1 (profiling/nsys.sh, ncu.sh)");
}

TrainRequest TrainFlags::request() const {
  if (seed && *seed < 0) fail_input("--seed {}: must not be negative", *seed);
  if (limit_test && *limit_test < 0) fail_input("--limit-test {}: must not be negative", *limit_test);
  if (check_every && *check_every < 1) fail_input("--check-every {}: must be at least 1", *check_every);
  if (no_save && run_dir) fail_input("--no-save and --run-dir contradict each other: leave one out");
  if (tui && output.quiet) fail_input("--tui and --quiet contradict each other: leave one out");
  TrainRequest request = resume ? resumed_request() : fresh();
  if (run_dir) request.run_dir = *run_dir;
  request.no_save = no_save;
  request.tui = tui;
  if (profile_steps) request.profile_steps = parse_steps(*profile_steps);
  request.check_every = check_every.value_or(0);
  if (require_accuracy) request.required_accuracy = parse_accuracy(*require_accuracy);
  return request;
}

TrainRequest TrainFlags::fresh() const {
  TrainRequest request;
  request.spec = load_model_spec(model.value_or(kDefaultModel), set);
  recipe.apply(request.spec.recipe);
  RunSettings& run = request.run;
  run.seed = static_cast<std::uint64_t>(seed.value_or(1));
  run.data = data.value_or(kDefaultData);
  run.validation = validation.value_or(0);
  run.limit_train = limit_train.value_or(0);
  run.limit_test = limit_test.value_or(0);
  run.early_stop = early_stop.value_or(0);
  run.skip_nonfinite = on_nan && parse_on_nan(*on_nan, "--on-nan");
  request.session = device.over({});
  return request;
}

TrainRequest TrainFlags::resumed_request() const {
  TrainRequest request;
  request.resumed_from = find_checkpoint(*resume, /*resume=*/true);
  request.resumed = load_checkpoint(request.resumed_from);
  request.spec = request.resumed->spec;
  request.run = request.resumed->run;
  RunSettings& run = request.run;
  if (override_spec(request.spec, set) != request.spec)
    fail_input("--set {}: the run to be resumed was not trained so; leave the flag out, or start a new run",
               fmt::join(set, " --set "));
  if (model && !same_network(load_model_spec(*model, set), request.spec))
    fail_input(
        "--model {}: {} is a checkpoint of another model, '{}'; leave the flag out, or start a new run",
        *model, request.resumed_from.string(), request.spec.name);
  recipe.apply_to_resumed(request.spec.recipe);
  require_same("--seed", seed, static_cast<std::int64_t>(run.seed));
  require_same("--validation", validation, run.validation);
  require_same("--limit-train", limit_train, run.limit_train);
  require_same("--early-stop", early_stop, run.early_stop);
  if (limit_test) run.limit_test = *limit_test;
  if (data) run.data = *data;
  if (on_nan) run.skip_nonfinite = parse_on_nan(*on_nan, "--on-nan");
  request.session = device.over(session_options(run));
  return request;
}

}  // namespace quern::cli
