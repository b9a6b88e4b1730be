// Steps whose loss or gradients are not finite, under RunSettings::skip_nonfinite: on every device, in
// recordings too, they leave a run as if they had not been.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>

#include "quern/error.hpp"
#include "tests/train/fake_gpu.hpp"
#include "tests/train/small_world.hpp"
#include "train/nonfinite.hpp"

namespace quern {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr const char* kRecipe =
    R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "ema_decay": 0.9, "weight_decay": 0.01})";
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Steps to spoil, counted over the run, and what becomes an infinity or a NaN in them.
struct Spoils {
  std::set<std::int64_t> steps;
  OpKind kind = OpKind::softmax_xent;
  std::size_t slot = 0;  ///< of the outputs
  float value = kNan;
};

/// Called behind the runs of an implementation; each executable has a copy of its own.
using After = std::function<void(const RunArgs&, Device&)>;

/// All implementations of `original`, those of one operation's forward with `after` behind each run.
Registry with_after(const Registry& original, OpKind kind, const After& after) {
  Registry result;
  for (const OpKey& op : all_operations())
    for (const Implementation& candidate : original.candidates(op)) {
      Implementation wrapped = candidate;
      if (op == OpKey{kind, Direction::forward})
        wrapped.prepare = [candidate, after](const OpDesc& desc, Device& device) {
          struct Run final : Executable {
            Run(std::unique_ptr<Executable> e, After a, Device& d)
                : inner(std::move(e)), then(std::move(a)), on(d) {}
            std::size_t workspace_bytes() const override { return inner->workspace_bytes(); }
            void run(const RunArgs& args) override {
              inner->run(args);
              then(args, on);
            }
            std::unique_ptr<Executable> inner;
            After then;
            Device& on;
          };
          return std::make_unique<Run>(candidate.prepare(desc, device), after, device);
        };
      result.add(std::move(wrapped));
    }
  return result;
}

/// Every implementation of the operation does its work, then spoils its output in some runs.
Registry spoiling(const Registry& original, const Spoils& spoils) {
  return with_after(original, spoils.kind,
                    [spoils, done = std::int64_t{0}](const RunArgs& args, Device& device) mutable {
                      if (!spoils.steps.contains(done++)) return;
                      device.copy_to_device(args.out[spoils.slot], &spoils.value, sizeof(float), args.stream);
                      device.synchronize(args.stream);
                    });
}

struct SkipRun {
  SkipRun(const Split& data, const Spoils& spoils, const SessionOptions& options, bool skip = true)
      : session(small_model(kRecipe), options, open_device(options.device, options.threads),
                spoiling(Registry::with_all_providers(), spoils)),
        images(session, data, "the training set"),
        trainer(session, images, settings(skip)) {}
  static RunSettings settings(bool skip) {
    RunSettings settings;
    settings.skip_nonfinite = skip;
    return settings;
  }
  Session session;
  DeviceImages images;
  Trainer trainer;
};

/// Counts what was skipped, and keeps the state before and after every step.
class Watcher : public TrainObserver {
 public:
  explicit Watcher(Trainer& trainer) : trainer_(trainer) {}
  void on_skipped(const SkippedSteps& skipped) override { reports.push_back(skipped); }
  bool stop_requested() override {
    states.push_back(trainer_.checkpoint());
    return false;
  }
  void on_epoch(const EpochResult& result) override { epochs.push_back(result); }
  std::vector<SkippedSteps> reports;
  std::vector<Checkpoint> states;
  std::vector<EpochResult> epochs;

 private:
  Trainer& trainer_;
};

SessionOptions on(const std::string& device, std::vector<std::string> impls = {}) {
  SessionOptions options;
  options.device = device;
  options.threads = 2;
  options.impls = std::move(impls);
  return options;
}

std::vector<SessionOptions> every_device() {
  SessionOptions bf16 = on("emu");
  bf16.precision = Precision::bf16;
  return {on("cpu"), on("cpu", {"reference"}), on("emu"), bf16};
}

TEST(Skip, LeavesAllStateAsItWas) {
  const Split data = small_images(80);  // 5 steps an epoch
  for (const SessionOptions& options : every_device())
    for (const std::size_t slot : {0, 1})  // a loss, a gradient
      for (const float value : {kNan, -kInfinity}) {
        const Spoils spoils{{3, 7, 8}, OpKind::softmax_xent, slot, value};
        SkipRun run(data, spoils, options);
        Watcher watcher(run.trainer);
        EXPECT_EQ(run.trainer.run(watcher), StopReason::finished);
        EXPECT_EQ(run.trainer.state().skipped, 3);
        EXPECT_EQ(run.trainer.state().skipped_in_a_row, 0);
        ASSERT_EQ(watcher.states.size(), 15u);
        for (std::size_t step = 0; step + 1 < watcher.states.size(); ++step) {
          const Checkpoint &before = watcher.states[step], &after = watcher.states[step + 1];
          const bool same = before.weights == after.weights && before.slot1 == after.slot1 &&
                            before.slot2 == after.slot2 && before.ema == after.ema;
          EXPECT_EQ(same, spoils.steps.contains(static_cast<std::int64_t>(step)))
              << "step " << step << " on " << options.device;
        }
        ASSERT_EQ(watcher.epochs.size(), 3u);
        EXPECT_EQ(watcher.epochs[0].skipped, 1);
        EXPECT_EQ(watcher.epochs[1].skipped, 2);
        EXPECT_EQ(watcher.epochs[2].skipped, 0);
        for (const EpochResult& epoch : watcher.epochs) EXPECT_TRUE(std::isfinite(epoch.train_loss));
        ASSERT_EQ(watcher.reports.size(), 3u);
        EXPECT_EQ(watcher.reports[1].epoch, 2);
        EXPECT_EQ(watcher.reports[1].step_in_epoch, 3);
        EXPECT_EQ(watcher.reports[1].total, 2);
      }
}

TEST(Skip, ChangesNothingWhereAllIsFinite) {
  const Split data = small_images(80);
  for (const SessionOptions& options : every_device()) {
    SkipRun with(data, {}, options), without(data, {}, options, false);
    TrainObserver silent;
    with.trainer.run(silent);
    without.trainer.run(silent);
    EXPECT_EQ(with.session.weights(), without.session.weights()) << options.device;
    EXPECT_EQ(with.session.average(), without.session.average()) << options.device;
    EXPECT_EQ(with.trainer.state().skipped, 0);
  }
}

TEST(Skip, StopsAfterTooManyInARow) {
  const Split data = small_images(320);
  for (const SessionOptions& options : every_device()) {
    Spoils spoils;
    for (std::int64_t step = 2; step < 11; ++step) spoils.steps.insert(step);  // nine, and one good one
    for (std::int64_t step = 12; step < 40; ++step) spoils.steps.insert(step);
    SkipRun run(data, spoils, options);
    TrainObserver silent;
    try {
      run.trainer.run(silent);
      ADD_FAILURE() << "went on on " << options.device;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::check);
      EXPECT_THAT(error.what(), HasSubstr("10 steps in a row"));
    }
    EXPECT_EQ(run.trainer.state().step, 12 + Trainer::kMostSkippedInARow);
    EXPECT_EQ(run.trainer.state().skipped, 19);
    const std::vector<float> weights = run.session.weights();
    EXPECT_TRUE(std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); }));
  }
}

TEST(Skip, CountsThroughACheckpoint) {
  const Split data = small_images(80);
  const TemporaryFolder folder;
  const Spoils spoils{{1, 4, 5}, OpKind::softmax_xent, 0, kNan};
  SkipRun whole(data, spoils, on("cpu"));
  TrainObserver silent;
  whole.trainer.run(silent);
  SkipRun first(data, spoils, on("cpu"));
  Recorder cut(5);
  ASSERT_EQ(first.trainer.run(cut), StopReason::requested);
  EXPECT_EQ(first.trainer.state().skipped, 2);
  EXPECT_EQ(first.trainer.state().skipped_in_a_row, 1);
  save_checkpoint(folder / "cut.safetensors", first.trainer.checkpoint());
  const Checkpoint checkpoint = load_checkpoint(folder / "cut.safetensors");
  EXPECT_TRUE(checkpoint.run.skip_nonfinite);
  SkipRun second(data, {{0}, OpKind::softmax_xent, 0, kNan}, on("cpu"));
  second.trainer.restore(checkpoint);
  second.trainer.run(silent);
  EXPECT_EQ(second.trainer.state().skipped, 3);
  EXPECT_EQ(second.session.weights(), whole.session.weights());
}

/// Real overflow, not planted: products of huge weights.
TEST(Skip, SeesAnOverflowInEveryPrecision) {
  const Split data = small_images(64);
  for (SessionOptions options : every_device()) {
    Session session(small_model(kRecipe), options);
    const DeviceImages images(session, data, "the training set");
    RunSettings settings;
    settings.skip_nonfinite = true;
    Trainer trainer(session, images, settings);
    Checkpoint checkpoint = trainer.checkpoint();
    for (const char* name : {"conv.weight", "bn.gamma", "logits.weight"}) {
      const WeightTensor& tensor = session.layout().find(name);
      std::fill_n(checkpoint.weights.begin() + tensor.offset, tensor.shape.elements(), 3e38f);
    }
    trainer.restore(checkpoint);
    TrainObserver silent;
    EXPECT_THROW(trainer.run(silent), Error) << options.device;
    EXPECT_EQ(trainer.state().skipped, Trainer::kMostSkippedInARow);
    EXPECT_EQ(session.weights(), checkpoint.weights) << options.device;
  }
}

/// The device decides, not the host: in recordings and loops the same steps are skipped.
TEST(Skip, WorksInsideARecording) {
  const Split data = small_images(80);
  const Spoils spoils{{3, 7, 8}, OpKind::softmax_xent, 0, kNan};
  SkipRun on_cpu(data, spoils, on("cpu", {"reference"}));
  TrainObserver silent;
  on_cpu.trainer.run(silent);
  for (const GraphMode mode : {GraphMode::off, GraphMode::loop, GraphMode::unrolled}) {
    // Spoilt on the device: by the step's own number, read when the kernel runs.
    auto fake = std::make_unique<FakeGpu>();
    FakeGpu& gpu = *fake;
    std::vector<float*> losses;
    Registry registry =
        with_after(fake_registry(), OpKind::softmax_xent,
                   [&losses](const RunArgs& args, Device&) { losses = {static_cast<float*>(args.out[0])}; });
    std::int64_t step = 0;
    gpu.on_run = [&](const std::string& kernel) {
      if (kernel == "guard.forward" && spoils.steps.contains(step++)) *losses.at(0) = kNan;
    };
    SessionOptions options;
    options.replay.mode = mode;
    Session session(small_model(kRecipe), options, std::move(fake), std::move(registry));
    const DeviceImages images(session, data, "the training set");
    Trainer trainer(session, images, SkipRun::settings(true));
    trainer.set_stretch(4);
    EXPECT_EQ(trainer.run(silent), StopReason::finished);
    EXPECT_EQ(trainer.state().skipped, 3);
    EXPECT_EQ(session.weights(), on_cpu.session.weights()) << to_string(mode);
    EXPECT_EQ(session.average(), on_cpu.session.average()) << to_string(mode);
  }
}

}  // namespace
}  // namespace quern
