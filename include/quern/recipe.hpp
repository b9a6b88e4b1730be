#pragma once

/// How a model is trained: optimizer, schedule, regularisation. A model spec carries a recipe of its own, so
/// that `quern train --model NAME` needs no flags; command-line flags override single fields.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "quern/op.hpp"

namespace quern {

enum class ScheduleKind { constant, step, cosine, one_cycle };
const char* to_string(ScheduleKind kind) noexcept;

/// Learning rate as a function of the step t of T (both over the whole run), with the peak rate lr.
/// Warm-up: lr * (t + 1) / W while t < W = warmup_epochs * steps_per_epoch. Then, with u = (t - W) / (T - W)
/// and final = lr * final_fraction:
///
///  - constant: lr
///  - step: lr * gamma^(number of `milestones` (epochs) passed)
///  - cosine: final + (lr - final) * (1 + cos(pi * u)) / 2
///  - one_cycle: rises from lr * initial_fraction to lr over the first `warm_fraction` of the run by a half
///    cosine (warmup_epochs is not used), then falls to final by a half cosine (Smith & Topin 2018)
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  float warmup_epochs = 0;
  float final_fraction = 0;
  float gamma = 0.1f;
  std::vector<int> milestones;
  float initial_fraction = 0.04f;
  float warm_fraction = 0.3f;
  bool operator==(const Schedule&) const = default;
};

struct Recipe {
  int epochs = 5;
  int batch_size = 64;
  OptimizerKind optimizer = OptimizerKind::adam;
  float learning_rate = 1e-3f;
  float momentum = 0.9f;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-7f;
  float weight_decay = 0;
  float clip_norm = 0;  ///< 0: off
  float label_smoothing = 0;
  float ema_decay = 0;  ///< 0: off; else evaluation and the saved "ema" weights use the average
  Schedule schedule;
  Augment augment;
  bool operator==(const Recipe&) const = default;
};

/// Reads a recipe object; unknown keys and values out of range are input errors that name `where`.
Recipe parse_recipe(const nlohmann::json& json, const std::string& where);
nlohmann::json to_json(const Recipe& recipe);
/// The same checks on a recipe put together from flags.
void validate(const Recipe& recipe);
/// Names a flag or a spec may use, in a fixed order; parse_* throw input errors with the nearest match.
OptimizerKind parse_optimizer(std::string_view text);
ScheduleKind parse_schedule(std::string_view text);

/// Learning rate of step `step` of `total_steps`; in double so that every device gets the same float.
double learning_rate_at(const Recipe& recipe, long step, long total_steps, long steps_per_epoch);

}  // namespace quern
