// The training loop on a device that queues and records: what it queues, when it waits, and that the numbers
// do not depend on any of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/error.hpp"
#include "quern/file.hpp"
#include "tests/train/counting_device.hpp"
#include "tests/train/fake_gpu.hpp"
#include "tests/train/small_world.hpp"
#include "train/stretches.hpp"

namespace quern {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kAveraging =
    R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "ema_decay": 0.9, "schedule": {"kind": "cosine"},
        "augment": {"shift": 1}})";
constexpr const char* kPlain = R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01})";

/// A session on a FakeGpu, its images and a trainer.
struct GpuRun {
  explicit GpuRun(const ModelSpec& spec, const Split& data, RunSettings settings = {},
                  ReplayOptions replay = {}, FakeOptions fake = {},
                  const std::function<void(OpKey)>& before = {})
      : session(spec, options(replay), std::make_unique<FakeGpu>(fake), fake_registry(before)),
        gpu(static_cast<FakeGpu&>(session.device())),
        images(session, data, "the training set"),
        trainer(session, images, settings) {}

  static SessionOptions options(ReplayOptions replay) {
    SessionOptions options;
    options.replay = replay;
    return options;
  }
  StopReason train() {
    TrainObserver silent;
    return trainer.run(silent);
  }
  std::string hash() { return weights_hash(session.layout(), session.weights()); }

  Session session;
  FakeGpu& gpu;
  DeviceImages images;
  Trainer trainer;
};

TEST(Graphs, DoNotChangeABit) {
  for (const char* recipe : {kAveraging, kPlain}) {
    // 100 images less 20 held out: 5 steps an epoch; 90 less 20: a ragged sixth of 6 images.
    for (const std::int64_t images : {100, 90}) {
      const Split data = small_images(images);
      RunSettings settings;
      settings.validation = 20;
      SmallRun on_cpu(small_model(recipe), data, settings, cpu({"reference"}));
      on_cpu.train();
      const std::string expected = on_cpu.hash();
      for (const GraphMode mode :
           {GraphMode::off, GraphMode::loop, GraphMode::automatic, GraphMode::unrolled})
        for (const std::int64_t unroll : {1, 3, 16})
          for (const std::int64_t stretch : {0, 1, 4}) {
            GpuRun run(small_model(recipe), data, settings, {mode, unroll});
            run.trainer.set_stretch(stretch);
            EXPECT_EQ(run.train(), StopReason::finished);
            EXPECT_EQ(run.hash(), expected) << to_string(mode) << ", " << unroll << " a graph, " << stretch
                                            << " a stretch, " << images << " images";
            if (mode != GraphMode::unrolled) break;
          }
    }
  }
}

TEST(Graphs, AreRecordedOnceAndReplayed) {
  const Split data = small_images(16 * 40);  // 40 steps an epoch
  {
    GpuRun run(small_model(kPlain), data);
    run.train();
    EXPECT_EQ(run.gpu.counts.loop_recordings, 1);
    EXPECT_EQ(run.gpu.counts.recordings, 0);
    const auto nodes = static_cast<int>(run.trainer.plan().nodes.size());
    EXPECT_EQ(run.gpu.counts.launches, nodes) << "one walk is a plain one";
  }
  FakeOptions without_loops;
  without_loops.loops = false;
  GpuRun run(small_model(kPlain), data, {}, {GraphMode::automatic, 8}, without_loops);
  run.trainer.set_stretch(20);
  run.train();
  // Graphs of 8 walks and of one. Stretches of 20: the first is one plain walk and 19 in graphs, the others 2
  // * 8 + 4.
  EXPECT_EQ(run.gpu.counts.recordings, 2);
  EXPECT_EQ(run.gpu.counts.graph_launches, (2 + 3) + 5 * (2 + 4));
}

TEST(Graphs, OffLaunchesEveryNode) {
  const Split data = small_images(80);
  GpuRun run(small_model(kPlain), data, {}, {GraphMode::off});
  run.train();
  EXPECT_EQ(run.gpu.counts.recordings + run.gpu.counts.loop_recordings + run.gpu.counts.graph_launches, 0);
  EXPECT_EQ(run.gpu.counts.launches, 15 * static_cast<int>(run.trainer.plan().nodes.size()));
}

TEST(Graphs, OfALoopThatIsNotThereAreRefused) {
  FakeOptions fake;
  fake.loops = false;
  GpuRun run(small_model(kPlain), small_images(80), {}, {GraphMode::loop}, fake);
  try {
    run.train();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("--graph loop"));
  }
}

TEST(Graphs, AreRecordedAgainWhenMemoryHasMoved) {
  const Split data = small_images(96);
  struct Mover : TrainObserver {
    void on_epoch(const EpochResult& result) override {
      if (result.epoch != 1) return;
      // A larger batch needs a larger scratch buffer: every executor of the session is bound again.
      evaluators.emplace_back(run->session, run->images, first_indices(96), 96);
    }
    GpuRun* run = nullptr;
    std::vector<Evaluator> evaluators;
  };
  const auto hash = [&](bool move, int* recordings) {
    GpuRun run(linear_model(kPlain), data);
    Mover mover;
    mover.run = &run;
    TrainObserver silent;
    run.trainer.run(move ? mover : silent);
    *recordings = run.gpu.counts.loop_recordings;
    return run.hash();
  };
  int stayed = 0, moved = 0;
  EXPECT_EQ(hash(false, &stayed), hash(true, &moved));
  EXPECT_EQ(stayed, 1);
  EXPECT_EQ(moved, 2);
}

TEST(Epoch, AllocatesNothingAndWaitsForNothingButItsStretches) {
  const Split data = small_images(16 * 20 + 5);  // 20 steps and a ragged one
  struct Meter : TrainObserver {
    explicit Meter(GpuRun& run) : run_(run) {}
    void on_epoch(const EpochResult&) override { seen.push_back(run_.gpu.counts); }
    std::vector<FakeCounts> seen;
    GpuRun& run_;
  };
  for (const GraphMode mode : {GraphMode::automatic, GraphMode::unrolled, GraphMode::off}) {
    GpuRun run(small_model(R"({"epochs": 4, "batch_size": 16, "learning_rate": 0.01})"), data, {}, {mode, 8});
    run.trainer.set_stretch(10);
    Meter meter(run);
    run.trainer.run(meter);
    ASSERT_EQ(meter.seen.size(), 4u);
    for (std::size_t epoch = 2; epoch < 4; ++epoch) {
      const FakeCounts &before = meter.seen[epoch - 1], &after = meter.seen[epoch];
      EXPECT_EQ(after.allocations, before.allocations);
      EXPECT_EQ(after.host_allocations, before.host_allocations);
      EXPECT_EQ(after.synchronizations, before.synchronizations);
      EXPECT_EQ(after.recordings, before.recordings);
      EXPECT_EQ(after.loop_recordings, before.loop_recordings);
      EXPECT_EQ(after.uploads - before.uploads, 4) << "order, steps, step, sums";
      EXPECT_EQ(after.device_copies, before.device_copies);
      EXPECT_EQ(after.fills, before.fills);
      EXPECT_EQ(after.downloads - before.downloads, 3) << "the sums behind 10, 10 and 1 steps";
      // One wait a stretch, and one for host memory of the epoch before last, which is long free.
      EXPECT_LE(after.waits - before.waits, 4);
    }
  }
}

// Through the emulator, whose kernels and executor are the GPU's: an epoch allocates nothing there either,
// and what the host copies are the tables before the first step and the sums behind each.
TEST(Epoch, OfEmulatedKernelsAllocatesNothing) {
  const Split data = small_images(16 * 3 + 5);
  struct Meter : TrainObserver {
    explicit Meter(CountingDevice& device) : device_(device) {}
    void on_epoch(const EpochResult&) override { seen.push_back(device_.counts); }
    std::vector<CallCounts> seen;
    CountingDevice& device_;
  };
  Session session(small_model(R"({"epochs": 3, "batch_size": 16, "ema_decay": 0.9})"), {},
                  std::make_unique<CountingDevice>(open_device("emu", 2)), Registry::with_all_providers());
  const DeviceImages images(session, data, "the training set");
  Trainer trainer(session, images, {});
  Meter meter(static_cast<CountingDevice&>(session.device()));
  trainer.run(meter);
  ASSERT_EQ(meter.seen.size(), 3u);
  for (std::size_t epoch = 1; epoch < 3; ++epoch) {
    const CallCounts &before = meter.seen[epoch - 1], &after = meter.seen[epoch];
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.host_allocations, before.host_allocations);
    EXPECT_EQ(after.synchronizations, before.synchronizations);
    EXPECT_EQ(after.fills, before.fills);
    EXPECT_EQ(after.copies - before.copies, 4 + 4);
  }
}

TEST(Epoch, QueuesTheNextStretchBeforeItWaits) {
  GpuRun run(small_model(R"({"epochs": 1, "batch_size": 16})"), small_images(16 * 6));
  run.trainer.set_stretch(2);
  run.gpu.log.clear();
  run.train();
  // The tables' copies; two stretches; then always one waited for and one more queued.
  EXPECT_THAT(run.gpu.log,
              ElementsAre("wait", "record", "record", "record", "wait", "record", "wait", "wait"));
}

TEST(Epoch, StopsBetweenTwoStretchesAndResumesToTheSameBits) {
  const Split data = small_images(16 * 7 + 9);
  const TemporaryFolder folder;
  RunSettings settings;
  settings.seed = 5;
  GpuRun whole(small_model(kAveraging), data, settings);
  whole.train();
  save_checkpoint(folder / "whole.safetensors", whole.trainer.checkpoint());
  for (const std::int64_t asked : {0, 1, 2, 4, 5}) {
    {
      GpuRun first(small_model(kAveraging), data, settings);
      first.trainer.set_stretch(3);
      Recorder recorder(asked);
      ASSERT_EQ(first.trainer.run(recorder), StopReason::requested);
      // Stretches of an epoch of 8: 3, 3, 1, and the ragged batch.
      const std::int64_t ends[] = {0, 3, 6, 7, 8, 11};
      EXPECT_EQ(first.trainer.state().step, ends[asked]);
      save_checkpoint(folder / "cut.safetensors", first.trainer.checkpoint());
    }
    const Checkpoint checkpoint = load_checkpoint(folder / "cut.safetensors");
    GpuRun second(checkpoint.spec, data, checkpoint.run);
    second.trainer.restore(checkpoint);
    EXPECT_EQ(second.train(), StopReason::finished);
    save_checkpoint(folder / "resumed.safetensors", second.trainer.checkpoint());
    EXPECT_EQ(read_file(folder / "resumed.safetensors", 1 << 24),
              read_file(folder / "whole.safetensors", 1 << 24))
        << "stopped at question " << asked;
  }
}

TEST(Epoch, GivesTheProfilerTheStepsItAskedFor) {
  GpuRun run(small_model(R"({"epochs": 2, "batch_size": 16})"), small_images(16 * 8));
  run.trainer.set_stretch(4);
  std::vector<int> kernels;
  run.trainer.set_profile_window(5, 9);
  run.gpu.log.clear();
  int inside = -1, seen = 0;
  run.gpu.on_run = [&](const std::string& kernel) {
    if (kernel == "optimizer.forward") ++seen;
    const bool on = std::count(run.gpu.log.begin(), run.gpu.log.end(), "window on with 0 queued") == 1;
    const bool off = std::count(run.gpu.log.begin(), run.gpu.log.end(), "window off with 0 queued") == 1;
    if (kernel == "optimizer.forward" && on && !off) inside = inside < 0 ? 1 : inside + 1;
  };
  run.train();
  EXPECT_EQ(seen, 16);
  EXPECT_EQ(inside, 4);
  EXPECT_THROW(run.trainer.set_profile_window(3, 3), Error);
  EXPECT_THROW(run.trainer.set_profile_window(0, 17), Error);
  EXPECT_NO_THROW(run.trainer.set_profile_window(0, 16));
}

TEST(Errors, InARecordingNameTheNodeAndLeaveTheDeviceUsable) {
  int poolings = 0;
  GpuRun run(small_model(kPlain), small_images(80), {}, {}, {}, [&](OpKey op) {
    if (op == OpKey{OpKind::batchnorm, Direction::backward} && ++poolings == 2)
      fail_device("the launch was refused");
  });
  try {
    run.train();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("bn.backward[user:fake]"), HasSubstr("the launch was refused")));
  }
  EXPECT_EQ(run.session.weights().size(), static_cast<std::size_t>(run.session.layout().total_elements));
}

TEST(Errors, OfAKernelComeOutWhenItsStretchIsWaitedFor) {
  GpuRun run(small_model(kPlain), small_images(80));
  int runs = 0;
  run.gpu.on_run = [&](const std::string& kernel) {
    if (kernel == "softmax_xent.forward" && ++runs == 7) throw std::runtime_error("illegal address");
  };
  try {
    run.train();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("illegal address"));
  }
}

TEST(Errors, OfMemorySayWhichBatchWouldFit) {
  const Split data = small_images(600);
  const auto train = [&](std::int64_t batch, std::size_t memory) {
    FakeOptions fake;
    fake.memory = memory;
    GpuRun run(small_model(fmt::format(R"({{"epochs": 1, "batch_size": {}}})", batch)), data, {}, {}, fake);
    run.train();
  };
  const std::size_t memory = 600 * 1024;
  EXPECT_NO_THROW(train(16, memory));
  std::string message;
  try {
    train(512, memory);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    message = error.what();
  }
  ASSERT_THAT(message, AllOf(HasSubstr("in batches of 512 needs"), HasSubstr("would fit: --batch ")));
  const std::int64_t fits = std::stoll(message.substr(message.find("--batch ") + 8));
  EXPECT_GT(fits, 16);
  EXPECT_LT(fits, 512);
  EXPECT_NO_THROW(train(fits, memory));
  EXPECT_THROW(train(fits + 1, memory), Error);
}

TEST(EvaluatorOnAGpu, RecordsAPassAndReplaysIt) {
  const Split data = small_images(53);
  GpuRun run(small_model(kPlain), data);
  Evaluator evaluator(run.session, run.images, first_indices(53), 10);
  const Evaluation first = evaluator.run();
  EXPECT_EQ(run.gpu.counts.recordings, 0);
  const Evaluation second = evaluator.run();
  EXPECT_EQ(run.gpu.counts.recordings, 1);
  const int launches = run.gpu.counts.launches;
  const Evaluation third = evaluator.run();
  EXPECT_EQ(run.gpu.counts.recordings, 1);
  EXPECT_EQ(run.gpu.counts.launches, launches);
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.loss, third.loss);
  // Other weights, the same recording.
  run.train();
  const Evaluation trained = evaluator.run();
  EXPECT_NE(trained.loss, first.loss);
  EXPECT_EQ(trained.loss, Evaluator(run.session, run.images, first_indices(53), 10).run().loss);
  // Memory that has moved: recorded again, with the same result.
  const Evaluator larger(run.session, run.images, first_indices(53), 53);
  EXPECT_EQ(evaluator.run().loss, trained.loss);
  EXPECT_EQ(run.gpu.counts.recordings, 2);
}

TEST(Pace, AimsAtItsTimeInBoundedSteps) {
  Pace pace(true);
  EXPECT_EQ(pace.steps(), 1);
  pace.took(1, 1e-6);  // a lucky measurement
  EXPECT_EQ(pace.steps(), 4);
  pace.took(4, 4e-3);
  EXPECT_EQ(pace.steps(), 16);
  pace.took(16, 16e-3);
  EXPECT_EQ(pace.steps(), 50);
  pace.took(50, 100e-3);
  EXPECT_EQ(pace.steps(), 25);
  pace.took(25, 1000);
  EXPECT_EQ(pace.steps(), 1);
  Pace host(false);
  host.took(1, 1e-9);
  EXPECT_EQ(host.steps(), 1);
  EXPECT_EQ(Pace(false, 7).steps(), 1);
  EXPECT_EQ(Pace(true, 7).steps(), 7);
}

}  // namespace
}  // namespace quern
