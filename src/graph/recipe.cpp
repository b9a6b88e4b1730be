#include "quern/recipe.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "graph/json_reader.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern {
namespace {

constexpr std::array kOptimizers{OptimizerKind::adam, OptimizerKind::adamw, OptimizerKind::sgd,
                                 OptimizerKind::momentum, OptimizerKind::nesterov};
constexpr std::array kSchedules{ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine,
                                ScheduleKind::one_cycle};

template <class Kinds>
auto parse_name(std::string_view text, const Kinds& kinds, const char* what) {
  std::vector<std::string> names;
  for (const auto kind : kinds) {
    names.emplace_back(to_string(kind));
    if (text == names.back()) return kind;
  }
  fail_input("unknown {} '{}': choose one of {}{}", what, text, fmt::join(names, ", "),
             did_you_mean(text, names));
}

/// Runs something that knows no file and puts the place in front of its error.
template <class Function>
auto located(const std::string& where, Function&& function) {
  try {
    return function();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", where, error.what()));
  }
}

Schedule parse_schedule_object(const nlohmann::json& json, const std::string& where) {
  Schedule schedule;
  if (json.is_string()) {
    schedule.kind = located(where, [&] { return parse_schedule(json.get<std::string>()); });
    return schedule;
  }
  JsonReader reader(json, where);
  schedule.kind = located(where, [&] { return parse_schedule(reader.string("kind")); });
  schedule.warmup_epochs = static_cast<float>(reader.number("warmup_epochs", 0, 1e6, schedule.warmup_epochs));
  schedule.final_fraction =
      static_cast<float>(reader.number("final_fraction", 0, 1, schedule.final_fraction));
  schedule.gamma = static_cast<float>(reader.number("gamma", 0, 1, schedule.gamma));
  schedule.initial_fraction =
      static_cast<float>(reader.number("initial_fraction", 0, 1, schedule.initial_fraction));
  schedule.warm_fraction = static_cast<float>(reader.number("warm_fraction", 0, 1, schedule.warm_fraction));
  if (reader.has("milestones")) {
    const nlohmann::json& list = reader.raw("milestones");
    if (!list.is_array()) reader.fail("'milestones' must be a list of epochs");
    for (const auto& epoch : list) {
      if (!epoch.is_number_integer() || epoch.get<std::int64_t>() < 1 ||
          epoch.get<std::int64_t>() > 1'000'000)
        reader.fail(fmt::format("'milestones' must be a list of epochs from 1, found {}", list.dump()));
      schedule.milestones.push_back(epoch.get<int>());
    }
  }
  reader.finish();
  return schedule;
}

Augment parse_augment(const nlohmann::json& json, const std::string& where) {
  JsonReader reader(json, where);
  Augment augment;
  augment.shift = static_cast<float>(reader.number("shift", 0, 1024, 0));
  augment.rotate = static_cast<float>(reader.number("rotate", 0, 180, 0));
  augment.scale = static_cast<float>(reader.number("scale", 0, 0.9, 0));
  augment.shear = static_cast<float>(reader.number("shear", 0, 80, 0));
  augment.elastic = static_cast<float>(reader.number("elastic", 0, 1024, 0));
  augment.erase = static_cast<int>(reader.integer("erase", 0, 1 << 16, 0));
  augment.flip = static_cast<float>(reader.number("flip", 0, 1, 0));
  augment.crop = static_cast<int>(reader.integer("crop", 0, 1024, 0));
  reader.finish();
  return augment;
}

/// The shortest decimal that reads back as this float, so that files show 0.001 and not
/// 0.0010000000474974513.
nlohmann::json short_number(float value) {
  return nlohmann::json::parse(fmt::format("{}", value));
}

}  // namespace

const char* to_string(ScheduleKind kind) noexcept {
  switch (kind) {
    case ScheduleKind::constant:
      return "constant";
    case ScheduleKind::step:
      return "step";
    case ScheduleKind::cosine:
      return "cosine";
    case ScheduleKind::one_cycle:
      break;
  }
  return "one_cycle";
}

OptimizerKind parse_optimizer(std::string_view text) {
  return parse_name(text, kOptimizers, "optimizer");
}
ScheduleKind parse_schedule(std::string_view text) {
  return parse_name(text, kSchedules, "schedule");
}

Recipe parse_recipe(const nlohmann::json& json, const std::string& where) {
  JsonReader reader(json, where);
  Recipe recipe;
  const auto number = [&](const char* key, double low, double high, float fallback) {
    return static_cast<float>(reader.number(key, low, high, static_cast<double>(fallback)));
  };
  recipe.epochs = static_cast<int>(reader.integer("epochs", 0, 1'000'000, recipe.epochs));
  recipe.batch_size = static_cast<int>(reader.integer("batch_size", 1, 1'000'000, recipe.batch_size));
  if (reader.has("optimizer"))
    recipe.optimizer = located(where, [&] { return parse_optimizer(reader.string("optimizer")); });
  recipe.learning_rate = number("learning_rate", 0, 1e6, recipe.learning_rate);
  recipe.momentum = number("momentum", 0, 1, recipe.momentum);
  recipe.beta1 = number("beta1", 0, 1, recipe.beta1);
  recipe.beta2 = number("beta2", 0, 1, recipe.beta2);
  recipe.epsilon = number("epsilon", 0, 1, recipe.epsilon);
  recipe.weight_decay = number("weight_decay", 0, 1e3, recipe.weight_decay);
  recipe.clip_norm = number("clip_norm", 0, 1e30, recipe.clip_norm);
  recipe.label_smoothing = number("label_smoothing", 0, 1, recipe.label_smoothing);
  recipe.ema_decay = number("ema_decay", 0, 1, recipe.ema_decay);
  if (reader.has("schedule"))
    recipe.schedule = parse_schedule_object(reader.raw("schedule"), where + ": schedule");
  if (reader.has("augment")) recipe.augment = parse_augment(reader.raw("augment"), where + ": augment");
  reader.finish();
  located(where, [&] { validate(recipe); });
  return recipe;
}

void validate(const Recipe& recipe) {
  const auto check = [](bool good, const char* what, auto value, const char* advice) {
    if (!good) fail_input("{} = {}: {}", what, value, advice);
  };
  check(recipe.epochs >= 0, "epochs", recipe.epochs, "must not be negative");
  check(recipe.batch_size >= 1, "batch size", recipe.batch_size, "must be at least 1");
  check(recipe.learning_rate >= 0 && std::isfinite(recipe.learning_rate), "learning rate",
        recipe.learning_rate, "must be a finite number, not negative");
  check(recipe.momentum >= 0 && recipe.momentum < 1, "momentum", recipe.momentum, "must be in [0, 1)");
  check(recipe.beta1 >= 0 && recipe.beta1 < 1, "beta1", recipe.beta1, "must be in [0, 1)");
  check(recipe.beta2 >= 0 && recipe.beta2 < 1, "beta2", recipe.beta2, "must be in [0, 1)");
  check(recipe.epsilon > 0, "epsilon", recipe.epsilon, "must be above 0");
  check(recipe.weight_decay >= 0, "weight decay", recipe.weight_decay, "must not be negative");
  check(recipe.clip_norm >= 0, "clip norm", recipe.clip_norm, "must not be negative; 0 turns clipping off");
  check(recipe.label_smoothing >= 0 && recipe.label_smoothing < 1, "label smoothing", recipe.label_smoothing,
        "must be in [0, 1)");
  check(recipe.ema_decay >= 0 && recipe.ema_decay < 1, "EMA decay", recipe.ema_decay,
        "must be in [0, 1); 0 turns it off");
  const Schedule& schedule = recipe.schedule;
  check(schedule.warmup_epochs >= 0, "warm-up", schedule.warmup_epochs, "must not be negative");
  const auto within = [&](const char* what, float value, float high) {
    if (!(value >= 0 && value <= high)) fail_input("{} = {}: must be in [0, {}]", what, value, high);
  };
  within("final fraction", schedule.final_fraction, 1);
  within("gamma", schedule.gamma, 1);
  for (const int milestone : schedule.milestones)
    check(milestone >= 1, "milestone", milestone, "must be at least 1, an epoch");
  within("augmentation's shift", recipe.augment.shift, 1024);
  within("augmentation's rotation", recipe.augment.rotate, 180);
  within("augmentation's scaling", recipe.augment.scale, 0.9f);
  within("augmentation's shear", recipe.augment.shear, 80);
  within("augmentation's elastic distortion", recipe.augment.elastic, 1024);
  check(recipe.augment.erase >= 0 && recipe.augment.erase <= 1 << 16, "augmentation's erased square",
        recipe.augment.erase, "must be in [0, 65536]");
  within("augmentation's probability to flip", recipe.augment.flip, 1);
  check(recipe.augment.crop >= 0 && recipe.augment.crop <= 1024, "augmentation's crop", recipe.augment.crop,
        "must be in [0, 1024]");
}

nlohmann::json to_json(const Recipe& recipe) {
  nlohmann::json schedule = {{"kind", to_string(recipe.schedule.kind)},
                             {"warmup_epochs", short_number(recipe.schedule.warmup_epochs)},
                             {"final_fraction", short_number(recipe.schedule.final_fraction)},
                             {"gamma", short_number(recipe.schedule.gamma)},
                             {"milestones", recipe.schedule.milestones},
                             {"initial_fraction", short_number(recipe.schedule.initial_fraction)},
                             {"warm_fraction", short_number(recipe.schedule.warm_fraction)}};
  nlohmann::json augment = {
      {"shift", short_number(recipe.augment.shift)},     {"rotate", short_number(recipe.augment.rotate)},
      {"scale", short_number(recipe.augment.scale)},     {"shear", short_number(recipe.augment.shear)},
      {"elastic", short_number(recipe.augment.elastic)}, {"erase", recipe.augment.erase},
      {"flip", short_number(recipe.augment.flip)},       {"crop", recipe.augment.crop}};
  return {{"epochs", recipe.epochs},
          {"batch_size", recipe.batch_size},
          {"optimizer", to_string(recipe.optimizer)},
          {"learning_rate", short_number(recipe.learning_rate)},
          {"momentum", short_number(recipe.momentum)},
          {"beta1", short_number(recipe.beta1)},
          {"beta2", short_number(recipe.beta2)},
          {"epsilon", short_number(recipe.epsilon)},
          {"weight_decay", short_number(recipe.weight_decay)},
          {"clip_norm", short_number(recipe.clip_norm)},
          {"label_smoothing", short_number(recipe.label_smoothing)},
          {"ema_decay", short_number(recipe.ema_decay)},
          {"schedule", std::move(schedule)},
          {"augment", std::move(augment)}};
}

double learning_rate_at(const Recipe& recipe, long step, long total_steps, long steps_per_epoch) {
  const Schedule& schedule = recipe.schedule;
  const double peak = recipe.learning_rate;
  const double final = peak * static_cast<double>(schedule.final_fraction);
  const auto half_cosine = [](double from, double to, double u) {
    return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * std::clamp(u, 0.0, 1.0)));
  };
  const double total = std::max<double>(1, static_cast<double>(total_steps));
  if (schedule.kind == ScheduleKind::one_cycle) {
    const double rise = static_cast<double>(schedule.warm_fraction) * total;
    if (static_cast<double>(step) < rise)
      return half_cosine(peak * static_cast<double>(schedule.initial_fraction), peak,
                         static_cast<double>(step) / rise);
    return half_cosine(peak, final, (static_cast<double>(step) - rise) / std::max(1.0, total - rise));
  }
  const double warm = static_cast<double>(schedule.warmup_epochs) * static_cast<double>(steps_per_epoch);
  if (static_cast<double>(step) < warm) return peak * static_cast<double>(step + 1) / warm;
  switch (schedule.kind) {
    case ScheduleKind::cosine:
      return half_cosine(peak, final, (static_cast<double>(step) - warm) / std::max(1.0, total - warm));
    case ScheduleKind::step: {
      const long epoch = step / std::max(1L, steps_per_epoch);
      const auto passed = std::count_if(schedule.milestones.begin(), schedule.milestones.end(),
                                        [&](int milestone) { return epoch >= milestone; });
      return peak * std::pow(static_cast<double>(schedule.gamma), static_cast<double>(passed));
    }
    default:
      return peak;
  }
}

}  // namespace quern
