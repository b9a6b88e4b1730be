#pragma once

/// A training run as the commands make it: loads, trains, prints, records and saves.

#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/progress.hpp"
#include "cli/train_flags.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/trainer.hpp"
#include "train/run_folder.hpp"
#include "train/run_saver.hpp"

namespace quern::cli {

class RunObserver;
class StepCheck;

/// Needs an InterruptGuard around it: the first signal ends training between two steps.
class TrainRun {
 public:
  /// Without `data`, which must outlive the run, the data set is loaded while the device opens.
  TrainRun(TrainRequest request, ProgressPrinter& printer, const Dataset* data = nullptr);
  ~TrainRun();

  /// `quern train`: trains, then looks at the test set once, and gives the exit status. The last line of
  /// standard output is a JSON object where `json_output` is set.
  int execute(bool json_output);

  struct Fitted {
    StopReason reason = StopReason::finished;
    nlohmann::json result;            ///< as `quern train --json` prints it, without a test accuracy
    std::optional<EpochResult> last;  ///< the last epoch that this process finished
  };
  /// Trains and saves; nothing of it depends on the test set. Throws the error of files that could not be
  /// written.
  Fitted fit();

 private:
  Fitted train_and_save();
  StopReason train(RunObserver& observer, const std::optional<StepCheck>& check);
  void explain_nonfinite(const RunObserver& observer, const Error& error);
  void begin_view(bool watched);
  nlohmann::json config();
  void restore();
  void print_header();
  std::optional<Error> save(StopReason reason);
  nlohmann::json describe(StopReason reason);
  int report_interruption();
  int report_test(nlohmann::json& result);
  void write_report(const Evaluation& test);

  TrainRequest request_;
  ProgressPrinter& printer_;
  std::future<std::unique_ptr<const Dataset>> loading_;  ///< while the device opens
  Session session_;
  std::unique_ptr<const Dataset> own_data_;
  const Dataset* data_;
  std::optional<DeviceImages> images_;
  std::optional<Trainer> trainer_;
  std::optional<RunFolder> folder_;
  std::optional<RunSaver> saver_;
  std::optional<Error> unsaved_;  ///< why the run's last files are not on the disk
};

}  // namespace quern::cli
