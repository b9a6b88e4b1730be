// What only a GPU can prove; elsewhere these tests are reported as skipped, not run.

#include <gtest/gtest.h>

#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;

class OnAGpu : public testing::Test {
 protected:
  void SetUp() override {
    try {
      open_device("cuda");
    } catch (const Error& error) {
      GTEST_SKIP() << "NOT RUN: " << error.what();
    }
  }

  static SessionOptions gpu(GraphMode mode, std::int64_t unroll = 16) {
    SessionOptions options;
    options.device = "cuda";
    options.replay = {mode, unroll};
    return options;
  }
};

TEST_F(OnAGpu, GraphsDoNotChangeABit) {
  const Split data = small_images(16 * 40 + 7);
  RunSettings settings;
  settings.validation = 64;
  for (const char* recipe : {R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01})",
                             R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "ema_decay": 0.9})"}) {
    const auto hash = [&](const SessionOptions& options) {
      SmallRun run(small_model(recipe), data, settings, options);
      EXPECT_EQ(run.train(), StopReason::finished);
      return run.hash();
    };
    const std::string plain = hash(gpu(GraphMode::off));
    EXPECT_EQ(hash(gpu(GraphMode::off)), plain) << "the plain launches themselves";
    EXPECT_EQ(hash(gpu(GraphMode::automatic)), plain);
    for (const std::int64_t unroll : {1, 3, 16})
      EXPECT_EQ(hash(gpu(GraphMode::unrolled, unroll)), plain) << unroll;
    Session session(small_model(recipe), gpu(GraphMode::off));
    if (session.device().can_loop()) {
      EXPECT_EQ(hash(gpu(GraphMode::loop)), plain);
    }
  }
}

TEST_F(OnAGpu, EvaluationIsTheSameWhenReplayed) {
  const Split data = small_images(153);
  Session session(small_model(), gpu(GraphMode::automatic));
  session.initialize(5);
  const DeviceImages images(session, data, "the test set");
  Evaluator evaluator(session, images, first_indices(153), 50);
  const Evaluation first = evaluator.run();
  for (int again = 0; again < 3; ++again) EXPECT_EQ(evaluator.run().loss, first.loss);
}

TEST_F(OnAGpu, GraphsRepeatTheirWorkAsOftenAsAsked) {
  const auto device = open_device("cuda");
  const Stream stream = device->stream();
  // Each repetition moves a byte one place on: the place tells how many there were.
  constexpr std::size_t kBytes = 256;
  Buffer memory(*device, kBytes), spare(*device, kBytes);
  const auto work = [&] {
    device->copy_on_device(spare.bytes() + 1, memory.bytes(), kBytes - 1, stream);
    device->copy_on_device(memory.bytes() + 1, spare.bytes() + 1, kBytes - 1, stream);
  };
  const auto place_after = [&](DeviceGraph& graph, const std::vector<std::int64_t>& launches) {
    std::vector<std::uint8_t> bytes(kBytes);
    device->fill(memory.data(), 0, kBytes, stream);
    device->fill(memory.data(), 1, 1, stream);
    device->fill(spare.data(), 0, kBytes, stream);
    for (const std::int64_t times : launches) graph.launch(stream, times);
    device->copy_to_host(bytes.data(), memory.data(), kBytes, stream);
    device->synchronize(stream);
    // The first byte stays set; the last one set is as far as the repetitions have come.
    std::size_t last = 0;
    for (std::size_t i = 0; i < kBytes; ++i)
      if (bytes[i] == 1) last = i;
    return last;
  };
  EXPECT_EQ(place_after(*device->capture(work), {1, 5}), 6u);
  if (!device->can_loop()) GTEST_SKIP() << "NOT RUN: no graphs that loop here";
  EXPECT_EQ(place_after(*device->capture_loop(work), {1, 100, 7}), 108u);
}

TEST_F(OnAGpu, AnErrorInARecordingLeavesTheStreamUsable) {
  const auto device = open_device("cuda");
  EXPECT_THROW(device->capture([&] { device->allocate(1); }), Error);
  EXPECT_THROW(device->capture([] { throw std::runtime_error("no"); }), std::runtime_error);
  Buffer memory(*device, 16);
  EXPECT_NO_THROW(device->fill(memory.data(), 0, 16, device->stream()));
  EXPECT_NO_THROW(device->synchronize(device->stream()));
}

}  // namespace
}  // namespace quern
