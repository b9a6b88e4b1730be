#pragma once

/// What a person sees of a training run: one live line on a terminal, one line an epoch anywhere.

#include <cstdio>
#include <string>

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

 private:
  void clear();
  std::FILE* stream_;
  bool quiet_, terminal_, drawn_ = false;
};

std::string format_progress(const TrainProgress& progress);
std::string format_epoch(const EpochResult& result, std::int64_t epochs);
/// "7 s", "3:05", "2:03:04".
std::string format_duration(double seconds);
/// "99.28 %"
std::string percent(double share);

}  // namespace quern::cli
