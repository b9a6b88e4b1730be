/// Resuming equals never having stopped, whatever is trained: random models, optimizers, schedules,
/// augmentation, held-out images and early stopping, stopped at random steps, several times a run. The last
/// files must be equal byte for byte.
///
///   QUERN_RESUME_SEEDS=FIRST[:COUNT] resume_fuzz_test

#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "quern/file.hpp"
#include "tests/graph_fuzz/random_model.hpp"
#include "tests/graph_fuzz/seeds.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using test::Recorder;
using test::SmallRun;

/// A run of a random model, all but its spec drawn from the seed.
struct RandomRun {
  explicit RandomRun(std::uint64_t seed) : random(seed), model(test::random_model(seed)) {
    Recipe& recipe = model.spec.recipe;
    recipe.epochs = between(1, 3);
    recipe.learning_rate *= 0.25f;  // several epochs, and none of them may overflow
    recipe.schedule.kind = static_cast<ScheduleKind>(between(0, 3));
    recipe.schedule.milestones = {1, 2};
    recipe.schedule.warmup_epochs = static_cast<float>(between(0, 2)) / 2;
    if (between(0, 1) == 0) recipe.augment = {1, 10, 0.1f, 5};
    if (between(0, 2) == 0) recipe.ema_decay = 0.9f;

    data.count = between(30, 60);
    data.height = model.spec.height;
    data.width = model.spec.width;
    data.channels = model.spec.channels;
    data.images.resize(static_cast<std::size_t>(data.count * data.pixels_per_image()));
    for (std::uint8_t& pixel : data.images) pixel = static_cast<std::uint8_t>(random());
    const auto classes = static_cast<int>(output_classes(model.spec));
    for (std::int64_t i = 0; i < data.count; ++i)
      data.labels.push_back(static_cast<std::uint8_t>(between(0, classes - 1)));

    settings.seed = seed;
    settings.validation = between(0, 2) == 0 ? 0 : 9;
    if (settings.validation > 0 && between(0, 3) == 0) settings.early_stop = 1;
    options.device = seed % 12 == 0 ? "emu" : "cpu";
    options.threads = between(1, 2);
    options.fuse = between(0, 3) > 0;
  }

  int between(int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  }

  std::mt19937_64 random;
  test::RandomModel model;
  Split data;
  RunSettings settings;
  SessionOptions options;
};

std::vector<std::byte> saved(SmallRun& run, const test::TemporaryFolder& folder) {
  save_checkpoint(folder / "last.safetensors", run.trainer.checkpoint());
  return read_file(folder / "last.safetensors", 1 << 28);
}

/// Trains with up to four stops, each time from the file in a new session. Gives the number of stops.
int train_in_pieces(RandomRun& run, const test::TemporaryFolder& folder, std::vector<std::byte>& result) {
  int stops = 0;
  for (bool begun = false;;) {
    std::optional<Checkpoint> checkpoint;
    if (begun) checkpoint = load_checkpoint(folder / "last.safetensors");
    SmallRun piece(checkpoint ? checkpoint->spec : run.model.spec, run.data,
                   checkpoint ? checkpoint->run : run.settings, run.options);
    if (checkpoint) piece.trainer.restore(*checkpoint);
    Recorder recorder(stops < 4 ? run.between(0, 12) : -1);
    const StopReason reason = piece.train(recorder);
    result = saved(piece, folder);
    if (reason != StopReason::requested) return stops;
    ++stops;
    begun = true;
  }
}

class RandomRuns : public testing::TestWithParam<std::uint64_t> {};

constexpr std::uint64_t kShards = 4;

TEST_P(RandomRuns, ResumeAsIfNeverStopped) {
  const test::Seeds range = test::seeds_from("QUERN_RESUME_SEEDS", 60);
  int runs = 0, stops = 0;
  for (std::uint64_t i = GetParam(); i < range.count; i += kShards) {
    const std::uint64_t seed = range.first + i;
    const test::TemporaryFolder folder;
    RandomRun run(seed);
    SmallRun whole(run.model.spec, run.data, run.settings, run.options);
    whole.train();
    const std::vector<std::byte> expected = saved(whole, folder);
    std::vector<std::byte> got;
    stops += train_in_pieces(run, folder, got);
    ++runs;
    EXPECT_TRUE(got == expected) << "run " << seed << " on " << run.options.device
                                 << "\n  alone: QUERN_RESUME_SEEDS=" << seed
                                 << " resume_fuzz_test\n  model: " << run.model.json;
  }
  std::printf("%d runs, %d stops\n", runs, stops);
}
INSTANTIATE_TEST_SUITE_P(Shard, RandomRuns, testing::Range<std::uint64_t>(0, kShards));

}  // namespace
}  // namespace quern
