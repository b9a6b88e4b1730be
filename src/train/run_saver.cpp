#include "train/run_saver.hpp"

#include "quern/error.hpp"

namespace quern {

void RunSaver::epoch(const EpochResult& result, Checkpoint checkpoint) {
  rows_.push_back(result);
  if (result.best) best_ = checkpoint;
  last_ = std::move(checkpoint);
  try_flush();
}

void RunSaver::flush() {
  while (!rows_.empty()) {
    folder_.append(rows_.front());
    rows_.erase(rows_.begin());
  }
  // best first: if the process dies between the two, the epoch is done again.
  if (best_) save_checkpoint(folder_.best(), *best_);
  best_.reset();
  if (last_) save_checkpoint(folder_.last(), *last_);
  last_.reset();
}

void RunSaver::try_flush() {
  try {
    flush();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    warn_(fmt::format("{}; training goes on, and this is written when the disk lets it", error.what()));
  }
}

}  // namespace quern
