#pragma once

/// `quern train --check-every N`: the live check of a run, its table and its check.json.

#include <nlohmann/json.hpp>
#include <string>

#include "quern/live_check.hpp"
#include "quern/trainer.hpp"

namespace quern::cli {

class StepCheck {
 public:
  /// Has the trainer's every `every`-th step checked; must live while it trains.
  StepCheck(Session& session, Trainer& trainer, std::int64_t every);

  /// Per node: implementation, elements and how close the worst element came to its tolerance.
  std::string table() const;
  /// What check.json holds; `"failure": null` when every node was inside tolerance.
  nlohmann::json json() const;
  /// Whether a node was out of tolerance.
  bool failed() const { return check_.failure().has_value(); }

 private:
  LiveCheck check_;
  std::int64_t every_;
};

}  // namespace quern::cli
