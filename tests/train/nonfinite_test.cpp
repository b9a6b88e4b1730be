#include "train/nonfinite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;

ModelSpec two_convolutions(const std::string& recipe = R"({"batch_size": 16, "epochs": 2})") {
  return parse_model_spec(R"({"name": "two", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "first", "op": "conv2d", "filters": 2, "kernel": 3},
      {"name": "second", "op": "conv2d", "filters": 2, "kernel": 3},
      {"name": "flat", "op": "flatten"},
      {"name": "logits", "op": "dense", "units": 4}], "recipe": )" +
                              recipe + "}",
                          "two");
}

/// Trains until the trainer finds that something is not finite.
std::int64_t diverge(SmallRun& run) {
  try {
    run.train();
    ADD_FAILURE() << "everything stayed finite";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::check);
    EXPECT_THAT(error.what(), testing::HasSubstr("not finite"));
  }
  return run.trainer.state().step;
}

TEST(FindNonfinite, NamesTheNodeThatOverflowed) {
  const Split data = small_images(64);
  SmallRun run(two_convolutions(), data);
  Checkpoint checkpoint = run.trainer.checkpoint();
  // Each layer alone stays in range; the second one's products do not.
  for (const char* name : {"first.weight", "second.weight"}) {
    const WeightTensor& tensor = run.session.layout().find(name);
    std::fill_n(checkpoint.weights.begin() + tensor.offset, tensor.shape.elements(), 1e30f);
  }
  run.trainer.restore(checkpoint);
  const std::int64_t bad_step = diverge(run);
  EXPECT_EQ(bad_step, 1);
  const auto found = find_nonfinite(run.session, run.images, {}, checkpoint, bad_step);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->node, "second.forward");
  EXPECT_EQ(found->tensor, "second.out");
  EXPECT_EQ(found->step, 0);
  EXPECT_TRUE(std::isinf(found->value));
  EXPECT_THAT(describe(*found),
              testing::HasSubstr("inf in second.out[0 of 512], written by second.forward ["));
}

TEST(FindNonfinite, FindsTheUpdateBeforeTheBadLoss) {
  const Split data = small_images(64);
  const std::string recipe =
      R"({"batch_size": 16, "epochs": 4, "optimizer": "sgd", "learning_rate": 10, "weight_decay": 1000})";
  SmallRun run(linear_model(recipe), data);
  const std::int64_t bad_step = diverge(run);
  EXPECT_GT(bad_step, 2);
  // From the start of the run, without a checkpoint.
  const auto found = find_nonfinite(run.session, run.images, {}, {}, bad_step);
  ASSERT_TRUE(found);
  EXPECT_GE(found->step, bad_step - 2);
  EXPECT_LT(found->step, bad_step);
}

TEST(FindNonfinite, FindsNothingWhereAllIsFinite) {
  const Split data = small_images(64);
  SmallRun run(two_convolutions(), data);
  EXPECT_FALSE(find_nonfinite(run.session, run.images, {}, {}, 3));
}

}  // namespace
}  // namespace quern
