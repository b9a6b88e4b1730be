#pragma once

/// Checkpoints: everything a run needs to go on as if it had never stopped, in one safetensors file.
///
/// Tensors, all f32, named after the layers of the model (shapes as in graph.hpp: conv weights KRSC, dense
/// [out, in]):
///   model/<layer>.<tensor>            weights and running statistics
///   optimizer.slot1/<layer>.<tensor>  momentum or Adam's first moment, where the optimizer has one
///   optimizer.slot2/<layer>.<tensor>  Adam's second moment
///   ema/<layer>.<tensor>              the average of the weights, where the recipe asks for one
/// Metadata: format, quern_version, rng, model (the spec with its recipe, as JSON), run (RunSettings), state
/// (TrainState). Nothing in the file depends on the time, the machine's name or the folder, so that the same
/// run gives the same bytes.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "quern/graph.hpp"
#include "quern/model_spec.hpp"

namespace quern {

/// Tells one training set from another.
struct DataFingerprint {
  std::int64_t images = 0, height = 0, width = 0, channels = 0;
  std::uint32_t labels_crc32 = 0;
  bool operator==(const DataFingerprint&) const = default;
};

/// What decides a run's numbers, beside the model spec and its recipe.
struct RunSettings {
  std::uint64_t seed = 1;
  std::string data = "mnist";  ///< as given by --data
  DataFingerprint fingerprint;
  std::vector<std::string> class_names;  ///< one for each class, so that a prediction needs no data
  std::int64_t validation = 0;           ///< images held out of the training set
  std::int64_t limit_train = 0;          ///< 0: all
  std::int64_t limit_test = 0;           ///< 0: all
  int early_stop = 0;                    ///< patience in epochs; 0: off
  bool skip_nonfinite = false;           ///< `--on-nan skip`; else training stops
  std::string device = "cpu";            ///< "cpu", "emu", "cuda:0"
  int threads = 1;
  std::string precision = "fp32";
  bool fuse = true;
  std::vector<std::string> impls;  ///< texts of --impl
  bool allow_nondeterministic = false;
};

/// Where a run stands.
struct TrainState {
  std::int64_t step = 0;              ///< optimizer steps done
  std::int64_t epoch = 0;             ///< epochs finished
  std::int64_t step_in_epoch = 0;     ///< steps done of the epoch begun; 0 between epochs
  Metrics sums;                       ///< of the epoch begun
  std::int64_t skipped = 0;           ///< of the steps done, those whose loss or gradients were not finite
  std::int64_t skipped_in_a_row = 0;  ///< of these, the ones since the last good step
  /// Of the best epoch by validation accuracy, from 1; 0: none yet.
  std::int64_t best_epoch = 0;
  double best_accuracy = 0;
  /// For early stopping, by validation loss.
  std::optional<double> lowest_loss;
  int epochs_since_lowest = 0;
  bool stopped_early = false;
};

struct Checkpoint {
  ModelSpec spec;  ///< with the recipe that is in force
  RunSettings run;
  TrainState state;
  /// Flat, in the order of weight_layout(spec); slots and average are empty where the recipe has none.
  std::vector<float> weights, slot1, slot2, ema;
};

/// Written atomically: whatever happens meanwhile, the file holds the old checkpoint or the new one.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Throws an input error that says what is wrong: not a checkpoint of Quern, cut short, a tensor that the
/// model lacks or that lacks in the file, another shape, metadata that does not parse.
Checkpoint load_checkpoint(const std::filesystem::path& path);

/// The checkpoint a user means by a file or a run folder. In a folder: `last.safetensors` when `resume` is
/// set, else `best.safetensors` where there is one. Throws an input error if there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& file_or_run, bool resume);

/// FNV-1a with 64 bits over the bytes of all tensors in the order of the layout, padding left out, as 16 hex
/// digits: equal for equal weights on every machine.
std::string weights_hash(const WeightLayout& layout, std::span<const float> weights);

}  // namespace quern
