#pragma once

/// What a person sees of a training run: one live line on a terminal, one line an epoch anywhere.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/live_view.hpp"
#include "quern/trainer.hpp"

namespace quern::cli {

class ProgressPrinter {
 public:
  /// Lines go to `stream`; `quiet` silences all of them. The live line is drawn only if the stream is a
  /// terminal.
  ProgressPrinter(std::FILE* stream, bool quiet);
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void update(const TrainProgress& progress);
  /// Clears the live line and prints a line that stays.
  void line(const std::string& text);
  /// A line about what went wrong, on standard error, "quern: " before it.
  void complaint(const std::string& text);

  /// From now on `view` shows progress and lines. Lines that would be printed over it wait for end_view().
  void begin_view(std::unique_ptr<LiveView> view);
  /// Shows what the run came to, which a short one may not have shown yet.
  void last_picture();
  void end_view();
  /// An epoch is over; only a view shows more of it than its line.
  void epoch(const EpochResult& result);

  /// Until leave(), the live line starts with `title` and other lines are dropped: a run among many.
  void enter(std::string title);
  void leave();

 private:
  void clear();
  std::FILE* stream_;
  bool quiet_, terminal_, drawn_ = false;
  std::unique_ptr<LiveView> view_;
  std::vector<std::pair<std::FILE*, std::string>> waiting_;
  std::optional<std::string> title_;
};

std::string format_progress(const TrainProgress& progress);
std::string format_epoch(const EpochResult& result, std::int64_t epochs);
/// "7 s", "3:05", "2:03:04".
std::string format_duration(double seconds);
/// "99.28 %"
std::string percent(double share);

}  // namespace quern::cli
