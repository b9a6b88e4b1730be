#pragma once

/// Flags that several commands share. Every one is optional, so that a resumed run knows what was asked for
/// anew.

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quern/checkpoint.hpp"
#include "quern/session.hpp"

namespace quern::cli {

/// Where and how to compute: --device, --threads, --impl, --no-fuse, --precision, --graph,
/// --allow-nondeterministic.
struct DeviceFlags {
  std::optional<std::string> device, precision, graph;
  std::optional<int> threads;
  std::vector<std::string> impls;
  bool no_fuse = false, no_graph = false, allow_nondeterministic = false;

  void add_to(CLI::App& command);
  /// The flags over `base`: the defaults, or what a checkpoint was trained with.
  SessionOptions over(SessionOptions base) const;
};

/// One line for people where `asked` is "auto" in a build with CUDA and no GPU was there to take; else empty.
std::string fallback_note(std::string_view asked);

/// Empty for "auto": what the device computes in by default.
std::optional<Precision> parse_precision(std::string_view text);

/// What a checkpoint was trained with.
SessionOptions session_options(const RunSettings& run);

/// --json and --quiet.
struct OutputFlags {
  bool json = false, quiet = false;
  void add_to(CLI::App& command);
};

/// Single fields of a recipe: --epochs, --batch, --lr, ...
class RecipeFlags {
 public:
  RecipeFlags();
  ~RecipeFlags();
  /// `batch`: whether --batch is among them.
  void add_to(CLI::App& command, bool batch = true);
  /// Sets the fields that were given, and validates the result.
  void apply(Recipe& recipe) const;
  /// For a run to be resumed: throws an input error naming the first flag that would change `recipe`. Only
  /// --epochs may change, and only where the learning rate does not depend on it; it is applied.
  void apply_to_resumed(Recipe& recipe) const;

 private:
  struct Values;
  std::unique_ptr<Values> values_;
};

}  // namespace quern::cli
