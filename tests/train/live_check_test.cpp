#include "quern/live_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "providers/reference/reference.hpp"
#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kRecipe =
    R"({"epochs": 2, "batch_size": 16, "ema_decay": 0.9, "augment": {"shift": 1, "rotate": 5}})";

/// The reference with something done to its result.
void plant(Registry& registry, const char* name, OpKey op, void (*spoil)(const RunArgs&)) {
  Implementation wrong;
  wrong.name = name;
  wrong.provider = Provider::user;
  wrong.op = op;
  wrong.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal(); };
  wrong.prepare = [spoil](const OpDesc& desc, Device&) {
    return std::make_unique<FunctionExecutable>(desc, [spoil](const OpDesc& d, const RunArgs& args) {
      reference::run<float>(d, args);
      spoil(args);
    });
  };
  registry.add(std::move(wrong));
}

float& element(const RunArgs& args, std::size_t slot, std::size_t index) {
  return static_cast<float*>(args.out[slot])[index];
}

void add_wrong_ones(Registry& registry) {
  // One element of one gradient, by a thousandth of itself.
  plant(registry, "slightly_wrong", {OpKind::conv2d, Direction::backward_weights},
        [](const RunArgs& args) { element(args, 0, 7) *= 1.001f; });
  plant(registry, "not_a_number", {OpKind::dense, Direction::forward},
        [](const RunArgs& args) { element(args, 0, 5) = std::numeric_limits<float>::quiet_NaN(); });
  // Written in place: what comes out is judged by what was there before.
  plant(registry, "not_updated", {OpKind::optimizer, Direction::forward},
        [](const RunArgs& args) { element(args, 0, 3) += 1e-2f; });
}

class LiveChecking : public testing::Test {
 protected:
  static void SetUpTestSuite() { extend_registries(add_wrong_ones); }

  static std::string hash_of(const SessionOptions& options, std::int64_t every, LiveCheck** out = nullptr,
                             std::int64_t images = 72) {  // with a last step of half the batch
    static std::unique_ptr<LiveCheck> check;
    const Split data = small_images(images);
    SmallRun run(small_model(kRecipe), data, {}, options);
    check = std::make_unique<LiveCheck>(run.session.registry(), run.session.device());
    if (every > 0)
      run.trainer.watch(every, [&](Executor& executor, std::int64_t step) { check->run(executor, step); });
    run.train();
    if (out != nullptr) *out = check.get();
    return run.hash();
  }

  /// Trains with `impl` forced, every step checked, and expects the check to end it.
  static NodeCheckFailure caught(const std::string& impl, std::string* message = nullptr) {
    const Split data = small_images(64);
    SmallRun run(small_model(kRecipe), data, {}, cpu({impl}));
    LiveCheck check(run.session.registry(), run.session.device());
    run.trainer.watch(1, [&](Executor& executor, std::int64_t step) { check.run(executor, step); });
    try {
      run.train();
      ADD_FAILURE() << "not caught";
      return {};
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::check);
      EXPECT_EQ(exit_status(error.kind()), 1);
      if (message != nullptr) *message = error.what();
    }
    EXPECT_TRUE(check.failure().has_value());
    return check.failure().value_or(NodeCheckFailure{});
  }
};

TEST_F(LiveChecking, ChangesNoBit) {
  LiveCheck* check = nullptr;
  const std::string plain = hash_of(cpu(), 0);
  EXPECT_EQ(plain, hash_of(cpu(), 1, &check));
  EXPECT_EQ(check->steps(), 10);  // two epochs of four whole steps and half a one
  EXPECT_FALSE(check->failure().has_value());
  for (const NodeCheck& node : check->nodes()) {
    EXPECT_GT(node.runs, 0) << node.node;
    EXPECT_GT(node.elements, 0) << node.node;
    EXPECT_LE(node.worst, 1) << node.node;
  }
  EXPECT_EQ(plain, hash_of(cpu(), 4, &check));
  EXPECT_EQ(check->steps(), 3);  // 0, 4 and 8
}

TEST_F(LiveChecking, ChecksEveryNodeOfThePlan) {
  const Split data = small_images(64);
  SmallRun run(small_model(kRecipe), data);
  LiveCheck check(run.session.registry(), run.session.device());
  run.trainer.watch(100, [&](Executor& executor, std::int64_t step) { check.run(executor, step); });
  run.train();
  const Plan& plan = run.trainer.plan();
  ASSERT_EQ(check.nodes().size(), plan.nodes.size());
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    EXPECT_EQ(check.nodes()[i].node, plan.graph.nodes[static_cast<std::size_t>(plan.nodes[i].node)].name);
    EXPECT_EQ(check.nodes()[i].implementation, plan.nodes[i].implementation->full_name());
    EXPECT_EQ(check.nodes()[i].runs, 1);
  }
}

TEST_F(LiveChecking, ChangesNoBitOnTheEmulator) {
  SessionOptions options = cpu();
  options.device = "emu";
  LiveCheck* check = nullptr;
  const std::string plain = hash_of(options, 0, nullptr, 16);
  EXPECT_EQ(plain, hash_of(options, 1, &check, 16));
  EXPECT_EQ(check->steps(), 2);
}

TEST_F(LiveChecking, AllowsLowerPrecisionsTheirRounding) {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    SessionOptions options = cpu();
    options.device = "emu";
    options.precision = precision;
    LiveCheck* check = nullptr;
    hash_of(options, 2, &check, 16);
    EXPECT_EQ(check->steps(), 1);
  }
}

TEST_F(LiveChecking, NamesNodeImplementationAndElement) {
  std::string message;
  const NodeCheckFailure failure = caught("conv2d.backward_weights=user:slightly_wrong", &message);
  EXPECT_EQ(failure.node, "conv.backward_weights");
  EXPECT_EQ(failure.implementation, "user:slightly_wrong");
  EXPECT_EQ(failure.element.slot, "dw");
  EXPECT_EQ(failure.element.index, "[0,2,1,0]");
  EXPECT_EQ(failure.element.step, 0);
  EXPECT_NEAR(failure.element.got / failure.element.want, 1.001, 1e-5);
  EXPECT_EQ(failure.count, 1);
  EXPECT_EQ(failure.elements, 4 * 3 * 3);
  EXPECT_THAT(message,
              AllOf(HasSubstr("conv.backward_weights[user:slightly_wrong]"), HasSubstr("dw[0,2,1,0]"),
                    HasSubstr("got "), HasSubstr("want "), HasSubstr("1 of 36 elements")));
}

TEST_F(LiveChecking, CatchesNaN) {
  const NodeCheckFailure failure = caught("dense.forward=user:not_a_number");
  EXPECT_EQ(failure.node, "logits.forward");
  EXPECT_EQ(failure.element.index, "[1,1]");
  EXPECT_TRUE(std::isnan(failure.element.got));
}

TEST_F(LiveChecking, JudgesWhatIsWrittenInPlace) {
  const NodeCheckFailure failure = caught("optimizer=user:not_updated");
  EXPECT_EQ(failure.node, "optimizer.forward");
  EXPECT_EQ(failure.element.slot, "params");
  EXPECT_EQ(failure.element.index, "[3]");
  EXPECT_NEAR(failure.element.got - failure.element.want, 1e-2, 1e-6);
}

}  // namespace
}  // namespace quern
