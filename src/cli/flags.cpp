#include "cli/flags.hpp"

#include <array>
#include <cmath>

#include "cli/help.hpp"
#include "device/factories.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern::cli {
namespace {

struct IntegerFlag {
  const char* name;
  const char* help;
  int& (*field)(Recipe&);
};
struct NumberFlag {
  const char* name;
  const char* help;
  float& (*field)(Recipe&);
};

constexpr std::array kIntegers{
    IntegerFlag{"--epochs", "Passes over the training set", [](Recipe& r) -> int& { return r.epochs; }},
    IntegerFlag{"--batch", "Images in a step; the last step of an epoch takes what is left",
                [](Recipe& r) -> int& { return r.batch_size; }},
    IntegerFlag{"--augment-erase", "Largest side of a square erased at a random place, in pixels",
                [](Recipe& r) -> int& { return r.augment.erase; }},
    IntegerFlag{"--augment-crop", "Largest random shift in whole pixels, which blurs nothing",
                [](Recipe& r) -> int& { return r.augment.crop; }},
};

constexpr std::array kNumbers{
    NumberFlag{"--lr", "Peak learning rate", [](Recipe& r) -> float& { return r.learning_rate; }},
    NumberFlag{"--warmup", "Epochs of linear warm-up",
               [](Recipe& r) -> float& { return r.schedule.warmup_epochs; }},
    NumberFlag{"--final-lr", "cosine, one_cycle: the last rate as a share of --lr",
               [](Recipe& r) -> float& { return r.schedule.final_fraction; }},
    NumberFlag{"--gamma", "step: factor at every milestone",
               [](Recipe& r) -> float& { return r.schedule.gamma; }},
    NumberFlag{"--weight-decay", "L2 penalty; decoupled with adamw",
               [](Recipe& r) -> float& { return r.weight_decay; }},
    NumberFlag{"--clip-norm", "Largest norm of the whole gradient; 0: off",
               [](Recipe& r) -> float& { return r.clip_norm; }},
    NumberFlag{"--label-smoothing", "Share of the target spread over all classes",
               [](Recipe& r) -> float& { return r.label_smoothing; }},
    NumberFlag{"--ema", "Decay of the weights' moving average, which evaluation then uses; 0: off",
               [](Recipe& r) -> float& { return r.ema_decay; }},
    NumberFlag{"--momentum", "Of momentum and nesterov", [](Recipe& r) -> float& { return r.momentum; }},
    NumberFlag{"--beta1", "Of adam and adamw", [](Recipe& r) -> float& { return r.beta1; }},
    NumberFlag{"--beta2", "Of adam and adamw", [](Recipe& r) -> float& { return r.beta2; }},
    NumberFlag{"--epsilon", "Of adam and adamw", [](Recipe& r) -> float& { return r.epsilon; }},
    NumberFlag{"--augment-shift", "Largest random shift, in pixels",
               [](Recipe& r) -> float& { return r.augment.shift; }},
    NumberFlag{"--augment-rotate", "Largest random rotation, in degrees",
               [](Recipe& r) -> float& { return r.augment.rotate; }},
    NumberFlag{"--augment-scale", "Largest random relative scaling",
               [](Recipe& r) -> float& { return r.augment.scale; }},
    NumberFlag{"--augment-shear", "Largest random shear, in degrees",
               [](Recipe& r) -> float& { return r.augment.shear; }},
    NumberFlag{"--augment-elastic", "Largest random displacement of an elastic distortion, in pixels",
               [](Recipe& r) -> float& { return r.augment.elastic; }},
    NumberFlag{"--augment-flip", "Probability that left and right of an image are exchanged",
               [](Recipe& r) -> float& { return r.augment.flip; }},
};

bool depends_on_epochs(const Schedule& schedule) {
  return schedule.kind == ScheduleKind::cosine || schedule.kind == ScheduleKind::one_cycle;
}

}  // namespace

void DeviceFlags::add_to(CLI::App& command) {
  const FlagGroup group(command, "Device");
  command.add_option("--device", device,
                     "auto, cpu, emu, cuda or cuda:N (default auto: a GPU if there is one)");
  command.add_option("--threads", threads, "CPU threads (default: all cores)");
  command
      .add_option(
          "--impl", impls,
          "Force an implementation, e.g. conv2d.forward=reference, or auto: the fastest, by measuring; "
          "may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  command.add_flag("--allow-nondeterministic", allow_nondeterministic,
                   "Let libraries on a GPU take algorithms whose results vary from run to run");
  command.add_flag("--no-fuse", no_fuse, "Run every operation on its own");
  command.add_option(
      "--graph", graph,
      "How a GPU gets its steps: auto, loop (one graph that repeats itself), unrolled (several "
      "steps a graph) or off");
  command.add_flag("--no-graph", no_graph, "The same as --graph off: every kernel launched by the host");
  command.add_option("--precision", precision,
                     "auto, fp32, tf32 or bf16 (default auto: tf32 on a GPU from sm_80 on, else fp32)");
}

std::string fallback_note(std::string_view asked) {
  const char* absence = asked == "auto" ? gpu_absence() : nullptr;
  return absence == nullptr ? "" : fmt::format("note: {}: computing on the CPU", absence);
}

std::optional<Precision> parse_precision(std::string_view text) {
  std::vector<std::string> names{"auto"};
  if (text == names.back()) return std::nullopt;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    names.emplace_back(to_string(precision));
    if (text == names.back()) return precision;
  }
  fail_input("unknown precision '{}': choose one of {}{}", text, fmt::join(names, ", "),
             did_you_mean(text, names));
}

SessionOptions DeviceFlags::over(SessionOptions base) const {
  if (device) base.device = *device;
  if (threads) {
    if (*threads < 1) fail_input("--threads {}: must be at least 1", *threads);
    base.threads = *threads;
  }
  if (precision) base.precision = parse_precision(*precision);
  if (!impls.empty()) base.impls = impls;
  if (no_fuse) base.fuse = false;
  if (allow_nondeterministic) base.allow_nondeterministic = true;
  if (no_graph && graph && *graph != "off")
    fail_input("--no-graph and --graph {} contradict each other: leave one out", *graph);
  if (graph) base.replay.mode = parse_graph_mode(*graph);
  if (no_graph) base.replay.mode = GraphMode::off;
  return base;
}

SessionOptions session_options(const RunSettings& run) {
  return {run.device, run.threads, parse_precision(run.precision),
          run.fuse,   run.impls,   run.allow_nondeterministic};
}

void OutputFlags::add_to(CLI::App& command) {
  const FlagGroup group(command, "Output");
  command.add_flag("--json", json, "Print one JSON object as the last line of standard output");
  command.add_flag("--quiet,-q", quiet, "Print no progress");
}

struct RecipeFlags::Values {
  std::array<std::optional<int>, kIntegers.size()> integers;
  std::array<std::optional<float>, kNumbers.size()> numbers;
  std::optional<std::string> optimizer, schedule;
  std::vector<int> milestones;
};

RecipeFlags::RecipeFlags() : values_(std::make_unique<Values>()) {}
RecipeFlags::~RecipeFlags() = default;

void RecipeFlags::add_to(CLI::App& command, bool batch) {
  const FlagGroup group(command, "Recipe");
  for (std::size_t i = 0; i < kIntegers.size(); ++i) {
    if (!batch && std::string_view(kIntegers[i].name) == "--batch") continue;
    command.add_option(kIntegers[i].name, values_->integers[i], kIntegers[i].help);
  }
  command.add_option("--optimizer", values_->optimizer, "adam, adamw, sgd, momentum or nesterov");
  command.add_option("--schedule", values_->schedule, "constant, step, cosine or one_cycle");
  command
      .add_option("--milestones", values_->milestones, "step: epochs after which the rate falls, e.g. 3,4")
      ->delimiter(',')
      ->take_all();
  for (std::size_t i = 0; i < kNumbers.size(); ++i)
    command.add_option(kNumbers[i].name, values_->numbers[i], kNumbers[i].help);
}

namespace {

/// Sets a field of `recipe`; a value that is no good by itself is an error that names the flag.
template <class Set, class Value>
void set_field(Recipe& recipe, const char* flag, const Value& value, Set set) {
  Recipe alone;
  set(alone);
  try {
    validate(alone);
  } catch (const Error& error) {
    // "momentum = 2: must be ..."
    const std::string message = error.what();
    const std::size_t colon = message.find(": ");
    fail_input("{} {}: {}", flag, value, colon == std::string::npos ? message : message.substr(colon + 2));
  }
  set(recipe);
}

}  // namespace

void RecipeFlags::apply(Recipe& recipe) const {
  for (std::size_t i = 0; i < kIntegers.size(); ++i)
    if (const auto& value = values_->integers[i])
      set_field(recipe, kIntegers[i].name, *value, [&](Recipe& r) { kIntegers[i].field(r) = *value; });
  for (std::size_t i = 0; i < kNumbers.size(); ++i) {
    const auto& value = values_->numbers[i];
    if (!value) continue;
    if (!std::isfinite(*value)) fail_input("{} {}: must be a finite number", kNumbers[i].name, *value);
    set_field(recipe, kNumbers[i].name, *value, [&](Recipe& r) { kNumbers[i].field(r) = *value; });
  }
  if (values_->optimizer) recipe.optimizer = parse_optimizer(*values_->optimizer);
  if (values_->schedule) recipe.schedule.kind = parse_schedule(*values_->schedule);
  if (const auto& list = values_->milestones; !list.empty())
    set_field(recipe, "--milestones", fmt::format("{}", fmt::join(list, ",")),
              [&](Recipe& r) { r.schedule.milestones = list; });
  validate(recipe);
}

void RecipeFlags::apply_to_resumed(Recipe& recipe) const {
  Recipe asked = recipe;
  apply(asked);
  const auto differs = [](const char* flag, auto given, auto trained) {
    if (given != trained)
      fail_input("{} {}: the run to be resumed has {}; leave the flag out, or start a new run", flag, given,
                 trained);
  };
  for (const IntegerFlag& flag : kIntegers)
    if (std::string_view(flag.name) != "--epochs") differs(flag.name, flag.field(asked), flag.field(recipe));
  for (const NumberFlag& flag : kNumbers) differs(flag.name, flag.field(asked), flag.field(recipe));
  using Name = std::string_view;
  differs("--optimizer", Name(to_string(asked.optimizer)), Name(to_string(recipe.optimizer)));
  differs("--schedule", Name(to_string(asked.schedule.kind)), Name(to_string(recipe.schedule.kind)));
  differs("--milestones", fmt::format("{}", fmt::join(asked.schedule.milestones, ",")),
          fmt::format("{}", fmt::join(recipe.schedule.milestones, ",")));
  if (asked.epochs != recipe.epochs && depends_on_epochs(recipe.schedule))
    fail_input(
        "--epochs {}: the run to be resumed has {}, and its {} learning rate depends on it; leave the flag "
        "out, or "
        "start a new run",
        asked.epochs, recipe.epochs, to_string(recipe.schedule.kind));
  recipe = asked;
}

}  // namespace quern::cli
