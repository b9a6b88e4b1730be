#include "cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "cli/console.hpp"
#include "io/text.hpp"

namespace quern::cli {
std::string percent(double share) {
  return fmt::format("{:.2f} %", share * 100);
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(std::clamp(seconds, 0.0, 1e9)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string format_progress(const TrainProgress& progress) {
  return fmt::format("epoch {}/{}  step {}/{}  loss {:.4f}  accuracy {}  {:.0f} images/s  {} left",
                     progress.epoch, progress.epochs, progress.step_in_epoch, progress.steps_per_epoch,
                     progress.loss, percent(progress.accuracy), progress.images_per_second,
                     format_duration(progress.seconds_left));
}

std::string format_epoch(const EpochResult& result, std::int64_t epochs) {
  std::string text = fmt::format("epoch {}/{}  loss {:.4f}  accuracy {}", result.epoch, epochs,
                                 result.train_loss, percent(result.train_accuracy));
  if (result.validation_loss)
    text += fmt::format("  validation loss {:.4f}  accuracy {}{}", *result.validation_loss,
                        percent(result.validation_accuracy.value_or(0)), result.best ? " (best)" : "");
  if (result.skipped > 0) text += fmt::format("  {} steps skipped", result.skipped);
  return text + fmt::format("  {:.2f} s  {:.0f} images/s", result.seconds, result.images_per_second);
}

ProgressPrinter::ProgressPrinter(std::FILE* stream, bool quiet)
    : stream_(stream), quiet_(quiet), terminal_(isatty(fileno(stream)) == 1) {}

ProgressPrinter::~ProgressPrinter() {
  end_view();
  clear();
}

void ProgressPrinter::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  drawn_ = false;
}

void ProgressPrinter::begin_view(std::unique_ptr<LiveView> view) {
  clear();
  view_ = std::move(view);
}

void ProgressPrinter::last_picture() {
  if (view_) view_->draw();
}

void ProgressPrinter::end_view() {
  view_.reset();
  for (const auto& [stream, text] : waiting_) {
    fmt::print(stream, "{}\n", text);
    std::fflush(stream);
  }
  waiting_.clear();
}

void ProgressPrinter::epoch(const EpochResult& result) {
  if (view_) view_->epoch(result);
}

void ProgressPrinter::complaint(const std::string& text) {
  if (!view_) return complain(text);
  waiting_.emplace_back(stderr, "quern: " + printable(text));
  view_->line(waiting_.back().second);
}

void ProgressPrinter::update(const TrainProgress& progress) {
  if (view_) return view_->update(progress);
  if (quiet_ || !terminal_) return;
  // The last column stays free: text there makes some terminals wrap.
  const std::string text = (title_ ? *title_ + "  " : std::string())
                               .append(format_progress(progress))
                               .substr(0, terminal_columns(stream_) - 1);
  fmt::print(stream_, "\r{}\x1b[K", text);
  std::fflush(stream_);
  drawn_ = true;
}

void ProgressPrinter::line(const std::string& text) {
  if (quiet_ || title_) return;
  clear();
  if (view_) {
    view_->line(text);
    // Elsewhere than on the terminal it disturbs nothing.
    if (terminal_) return void(waiting_.emplace_back(stream_, text));
  }
  fmt::print(stream_, "{}\n", text);
  std::fflush(stream_);
}

void ProgressPrinter::enter(std::string title) {
  title_ = std::move(title);
}

void ProgressPrinter::leave() {
  title_.reset();
}

}  // namespace quern::cli
